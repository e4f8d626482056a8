"""Answers of unedited models, asked once and kept for all editors, seeds and numbers of edits.

They depend on weights, arithmetic and the code that asks, and on nothing else; a file name stands
for all of these, so that an answer that could differ is not found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path

from bench.core.files import write_text
from bench.evaluation.answers import Answered
from bench.evaluation.cache_keys import cache_folder
from bench.evaluation.probing import Item
from editors.parts.language_model import LanguageModel

Key = tuple[str, str]  # prompt, target
_PIECE = 2048  # questions that are asked and kept together; ours


@dataclass
class PristineAnswers:
    """Answers by question, in memory and in a directory that several processes may share.

    Every call that has something new adds a file, named by its content; nothing is ever changed,
    and what does not fit its name is not read.
    """

    directory: Path
    _known: dict[Key, Answered] = field(default_factory=dict)
    _read: set[Path] = field(default_factory=set)

    def of(
        self, items: Sequence[Item], ask: Callable[[Sequence[Item]], list[Answered]]
    ) -> list[Answered]:
        """An answer for each item; `ask` gives those that are nowhere yet."""
        if any(_key(item) not in self._known for item in items):
            self._look()
        missing = {key: item for item in items if (key := _key(item)) not in self._known}
        for start in range(0, len(missing), _PIECE):  # whole pieces, wherever asking was ended
            piece = dict(islice(missing.items(), start, start + _PIECE))
            found = dict(zip(piece, ask([*piece.values()]), strict=True))
            self._known |= found
            self._keep(found.items())
        return [self._known[_key(item)] for item in items]

    def _look(self) -> None:
        """Read files that are new; one that is not as it was written is as good as none."""
        for path in sorted(set(self.directory.glob("*.jsonl")) - self._read):
            self._read.add(path)
            try:
                content = path.read_bytes()
                if path.name != _name(content):
                    continue
                rows = [json.loads(line) for line in content.decode().splitlines()]
                found = {(row["prompt"], row["target"]): Answered.from_dict(row) for row in rows}
            except (OSError, ValueError, KeyError, TypeError):
                continue
            self._known = found | self._known

    def _keep(self, found: Iterable[tuple[Key, Answered]]) -> None:
        lines = [
            json.dumps({"prompt": prompt, "target": target, **asdict(answer)})
            for (prompt, target), answer in found
        ]
        text = "\n".join(lines) + "\n"
        path = self.directory / _name(text.encode())
        try:
            write_text(path, text)
        except OSError:  # a cache that cannot be written costs time, no result
            return
        self._read.add(path)


def pristine_answers(lm: LanguageModel, template: str | None) -> PristineAnswers | None:
    """The kept answers of a model to questions generated with a template.

    None for a model whose weights have no digest, which nothing can be looked up by.
    """
    return _opened(cache_folder("pristine", lm, [template])) if lm.digest else None


@lru_cache(maxsize=1)  # of one model and template, which is what a worker asks about
def _opened(directory: Path) -> PristineAnswers:
    return PristineAnswers(directory)


def _name(content: bytes) -> str:
    """What a file of that content is called."""
    return f"{hashlib.sha256(content).hexdigest()[:16]}.jsonl"


def _key(item: Item) -> Key:
    return item.prompt, item.target
