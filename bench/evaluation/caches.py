"""What is computed once for many cells, and the keys of what the code computes and stores.

Two things depend on the unedited model alone: its answers (`PristineAnswers`), and the edits of
some editors (`CachedEdits`). Both are files in a folder whose name is a key of everything that may
move the last bits of a result: the weights, the code, the libraries, the machine. Checkpoints hold
the same (`numerics`). The code is the source of whole rooms, so that a renamed, added or removed
file is another key; listing single files would let a renamed one leave the key silently.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import bench
from bench.core.files import cached_digest, read_sealed, write_sealed, write_text
from bench.core.numerics import hardware
from bench.evaluation.probing import Item, ItemAnswers
from bench.world.store import cache_root
from editors import registry
from editors.parts.fast_paths import FastPaths
from editors.parts.language_model import LanguageModel

if TYPE_CHECKING:
    from torch import Tensor

    from editors.base import Editor, EditRequest, Hparams

_ROOT = Path(__file__).resolve().parents[2]
# What draws samples, loads models, edits and asks them.
ROOMS = ("editors", "bench/core", "bench/datasets", "bench/models", "bench/evaluation")
LIBRARIES = ("torch", "transformers", "tokenizers")
_PIECE = 2048  # questions that are asked and stored together; ours
_SECONDS = "seconds"  # in a file's header: what computing the edit took

Key = tuple[str, str]  # prompt, target


def digest_of_rooms(rooms: Sequence[str], root: Path = _ROOT) -> str:
    """sha256 over the paths and contents of all Python files in some folders below `root`."""
    whole = hashlib.sha256()
    for room in rooms:
        files = sorted((root / room).rglob("*.py"))
        if not files:
            raise ValueError(f"No Python file in {root / room}; the key of the code covers it.")
        for path in files:
            name = path.relative_to(root).as_posix()
            whole.update(f"{name}\0{cached_digest(path)}\n".encode())
    return whole.hexdigest()


# Of the code as it is when it is imported: later changes of the files are of another process.
CODE = digest_of_rooms(ROOMS)


def numerics(device: torch.device) -> dict[str, Any]:
    """What a stream was computed with, as plain JSON values; it is not continued with others."""
    return {
        "package": bench.__version__,
        "code": CODE,
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """The first entry of `numerics` that differs, in words; None where none does."""
    for name in dict.fromkeys([*here, *there]):
        before, now = there.get(name), here.get(name)
        if before == now:
            continue
        if name == "code":
            return "by other code"
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            inner = difference(before, now)
            return inner or f"with another {name}"
        return f"with {name} {before!r}, here it is {now!r}"
    return None


def cache_folder(kind: str, lm: LanguageModel, depends: Sequence[object]) -> Path:
    """The folder for one kind of results of an unedited model, which has a digest.

    Other weights, arithmetic, code or `depends` (JSON values) have another folder.
    """
    identity = [lm.digest, str(lm.dtype), numerics(lm.device), *depends]
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return cache_root() / kind / name


@dataclass
class PristineAnswers:
    """Answers of an unedited model, in memory and in a directory that processes may share.

    Every call that has something new adds a file, named by its content; nothing is ever changed,
    and what does not fit its name is not read.
    """

    directory: Path
    _known: dict[Key, ItemAnswers] = field(default_factory=dict)
    _read: set[Path] = field(default_factory=set)

    def of(
        self, items: Sequence[Item], ask: Callable[[Sequence[Item]], list[ItemAnswers]]
    ) -> list[ItemAnswers]:
        """An answer for each item; `ask` gives those that are nowhere yet."""
        if any(_key(item) not in self._known for item in items):
            self._read_new_files()
        missing = {key: item for item in items if (key := _key(item)) not in self._known}
        for start in range(0, len(missing), _PIECE):  # whole pieces, wherever asking was ended
            piece = dict(islice(missing.items(), start, start + _PIECE))
            answers = dict(zip(piece, ask([*piece.values()]), strict=True))
            self._known |= answers
            self._store(answers.items())
        return [self._known[_key(item)] for item in items]

    def _read_new_files(self) -> None:
        """A file that is not as it was written is ignored."""
        for path in sorted(set(self.directory.glob("*.jsonl")) - self._read):
            self._read.add(path)
            try:
                content = path.read_bytes()
                if path.name != _name(content):
                    continue
                rows = [json.loads(line) for line in content.decode().splitlines()]
                answers = {(row.pop("prompt"), row.pop("target")): _answers(row) for row in rows}
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
            self._known = answers | self._known

    def _store(self, answers: Iterable[tuple[Key, ItemAnswers]]) -> None:
        rows = ({"prompt": key[0], "target": key[1], **asdict(answer)} for key, answer in answers)
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        path = self.directory / _name(text.encode())
        try:
            write_text(path, text)
        except OSError:  # a cache that cannot be written costs time, no result
            return
        self._read.add(path)


def pristine_answers(lm: LanguageModel, template: str | None) -> PristineAnswers | None:
    """The cached answers of a model to questions generated with a template.

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


def _answers(row: Mapping[str, Any]) -> ItemAnswers:
    return ItemAnswers(
        tuple(row["target_ids"]), dict(row["channels"]), float(row["log_probability"])
    )


class CachedEdits:
    """An `EditCache` of edits that depend on the pristine model alone, with a file for each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._saved = 0.0
        self._missed = 0.0  # when a request was last missing

    def get(self, request: EditRequest) -> dict[str, Tensor] | None:
        """The edit's tensors; None where no file has them as they were written."""
        try:
            tensors, facts = read_sealed(self._path(request))
            self._saved += float(facts[_SECONDS])
        except (OSError, KeyError, ValueError):
            self._missed = time.perf_counter()
            return None
        return tensors

    def put(self, request: EditRequest, tensors: Mapping[str, Tensor]) -> None:
        """Store the tensors of an edit; a cache that cannot be written costs time, no result."""
        seconds = time.perf_counter() - self._missed
        try:
            write_sealed(self._path(request), tensors, {_SECONDS: repr(seconds)})
        except OSError:
            return

    def take_saved(self) -> float:
        """Seconds that computing the edits took that were read since the last call of this."""
        seconds, self._saved = self._saved, 0.0
        return seconds

    def _path(self, request: EditRequest) -> Path:
        digest = hashlib.sha256(json.dumps(asdict(request)).encode()).hexdigest()
        return self.directory / f"{digest[:32]}.safetensors"


def saved_seconds(editor: Editor[Any]) -> float:
    """Seconds that the cache has saved this editor since the last call of this."""
    cached = editor.resources.edit_cache
    return 0.0 if cached is None else cached.take_saved()


def cached_edits(
    lm: LanguageModel, editor: str, hparams: Hparams, inputs: Mapping[str, str]
) -> CachedEdits | None:
    """The cached edits of an editor on a pristine model.

    None for an editor whose edits depend on more, and for weights without a digest. Of `inputs`,
    the digests of its sources, those of the covariance and the templates count.
    """
    cls = registry.editor_class(editor)
    if not issubclass(cls, FastPaths) or not cls.cached_by or not lm.digest:
        return None
    values = hparams.to_dict()
    hparams_in_use = {name: values[name] for name in sorted(cls.cached_by)}
    read = {name: inputs[name] for name in ("corpus", "templates") if name in inputs}
    depends = [editor, cls.version, hparams_in_use, read, registry.source_of(editor)]
    return CachedEdits(cache_folder("edits", lm, depends))
