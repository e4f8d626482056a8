"""A user's own facts: a file of JSON, JSON lines or CSV in one form, which needs no code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from bench.datasets.base import EditDataset, LoadedSamples, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe

ENDINGS = (".json", ".jsonl", ".csv")
_FIELDS = (
    "id", "prompt", "target", "subject", "aliases", "former", "rephrase", "locality",
    "portability",
)  # fmt: skip
_PAIR = ("locality_prompt", "locality_target")
# A further text of a CSV file's row has a column of its own: `rephrase_2`, `locality_prompt_2`.
_FURTHER = re.compile(r"_\d+$")


class Facts(EditDataset):
    """The edits of one file.

    A row has a `prompt` and a `target`, and better a `subject`. It may have an `id`, `aliases` that
    are right answers too, the `former` answer that the edit replaces, a `rephrase` or a list of
    them, and `locality`: a list of objects with `prompt` and `target`, or one pair as
    `locality_prompt` and `locality_target`. `portability` is such a list too, of questions whose
    answers follow from the edit, with `aliases` and with `hops`, the other facts that a question
    needs. What may be absent may be null too. In CSV, further ones are in columns such as
    `rephrase_2`.
    """

    title = "a file of one's own facts"
    files: ClassVar[Mapping[Split, PublishedFile]] = {}
    distances: ClassVar[Mapping[str, str]] = {}

    def __init__(self, path: Path, digest: str) -> None:
        """Of a file with that sha256, which distinguishes cells as an own data set's code does."""
        self.key = re.sub(r"\W+", "_", path.stem.casefold()).strip("_")  # type: ignore[misc]
        self.label = path.stem  # type: ignore[misc]
        self.files = {"test": PublishedFile(path=path.name)}  # type: ignore[misc]
        self.home, self.source_digest = path.parent, digest
        self._path = path

    def load(self, split: Split, directory: Path) -> LoadedSamples:
        if split not in self.files:
            raise ValueError(f"{self._path.name} is one file of edits: it has no {split} split.")
        return self.load_file(split, self._path)

    def read(self, row: Row, sample_id: str) -> EditSample:
        unknown = [name for name in row.fields if _plain(name) not in (*_FIELDS, *_PAIR)]
        if unknown:
            known = ", ".join((*_FIELDS, *_PAIR))
            raise ValueError(f"{row.where}: no field {unknown[0]!r} is known; wanted: {known}.")
        target, aliases = row.text("target"), tuple(_texts(row, "aliases"))
        named = row.text("id") if row.fields.get("id") else ""
        return EditSample(
            id=f"{sample_id.rpartition('/')[0]}/{named}" if named else sample_id,
            request=EditRequest(
                prompt=row.text("prompt"),
                target=target,
                subject=row.text("subject") if "subject" in row.fields else "",
            ),
            aliases=aliases,
            generality=tuple(
                Probe(kind="rephrase", prompt=text, target=target, aliases=aliases)
                for text in _texts(row, "rephrase")
            ),
            locality=tuple(_locality(row)),
            portability=tuple(_portability(row)),
            former=row.text("former").strip() if "former" in row.fields else "",
        )


def _plain(name: str) -> str:
    return _FURTHER.sub("", name)


def _texts(row: Row, field: str) -> Iterator[str]:
    """The texts of a field and its further columns, each of which may be a list."""
    for name, value in row.fields.items():
        if _plain(name) == field and value not in (None, ""):
            yield from row.texts(name) if isinstance(value, list) else (row.text(name),)


def _locality(row: Row) -> Iterator[Probe]:
    others = row.rows("locality") if "locality" in row.fields else ()
    pairs = [(other.text("prompt"), other.text("target")) for other in others]
    prompts, targets = (list(_texts(row, name)) for name in _PAIR)
    if len(prompts) != len(targets):
        counts = f"{len(prompts)} and {len(targets)}"
        raise ValueError(f"{row.where}: wanted as many {' as '.join(_PAIR)}, got {counts}.")
    pairs += zip(prompts, targets, strict=True)
    for prompt, target in pairs:
        yield Probe(kind="unrelated", prompt=prompt, target=target)


def _portability(row: Row) -> Iterator[Probe]:
    for question in row.rows("portability") if "portability" in row.fields else ():
        hops = question.rows("hops") if "hops" in question.fields else ()
        yield Probe(
            kind="portability",
            prompt=question.text("prompt"),
            target=question.text("target"),
            aliases=tuple(_texts(question, "aliases")),
            hops=tuple((hop.text("prompt"), hop.text("target")) for hop in hops),
        )
