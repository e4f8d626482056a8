"""What every edit data set is: declared metadata, and rows turned into samples."""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from bench.core.names import unknown_name
from bench.datasets.files import PublishedFile, git_blob_id, locate
from bench.datasets.rows import Row, read_rows
from editors.base import EditRequest, EditSample, Probe

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

# The released repository of the RECIPE paper, the only source of all six files in one form.
RECIPE_SOURCE = "https://github.com/qizhou000/RECIPE"
RECIPE_REVISION = "b8ff1fc2c649d44dc88d2d4fccfa14343066a835"

# Reasons, as reports and records print them.
EMPTY_TARGET = "row with an empty target"
EMPTY_PROMPT = "row with an empty prompt"
UNPROBED = "training row without a generality or without a locality probe"
EMPTY_PROBE = "probe with an empty prompt or target"
OTHER_CASE = "subject in another letter case in the prompt"
NO_SUBJECT = "subject not in the prompt"


@dataclass(frozen=True, kw_only=True)
class LoadedSamples:
    """The samples of one split, with everything that was not taken as it stood in the file.

    `skipped` and `fallbacks` map a reason to its count. A subject found in another letter case
    takes the prompt's spelling; one not found stays, and editors that look for it use the prompt's
    last token.
    """

    samples: tuple[EditSample, ...]
    rows: int  # in the file
    skipped: Mapping[str, int]
    fallbacks: Mapping[str, int]
    trimmed: int  # targets whose leading white space was taken off
    digest: str  # git blob id of the file
    path: Path

    def facts(self) -> dict[str, Any]:
        """Plain JSON values for a record."""
        return {
            "rows": self.rows,
            "samples": len(self.samples),
            "skipped": dict(self.skipped),
            "fallbacks": dict(self.fallbacks),
            "trimmed": self.trimmed,
        }

    def notes(self) -> tuple[str, ...]:
        """One line for each count that is not zero, for reports."""
        trimmed = {"target trimmed of leading white space": self.trimmed}
        groups = (("skipped", self.skipped), ("fallback", self.fallbacks), ("changed", trimmed))
        return tuple(
            f"{name}: {count:,} x {reason}"
            for name, counts in groups
            for reason, count in counts.items()
            if count
        )


@dataclass
class _Tally:
    skipped: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    trimmed: int = 0


class EditDataset(ABC):
    """A set of edits with probes. A subclass declares what it is and maps a row to a sample."""

    key: ClassVar[str]  # the module's name
    label: ClassVar[str]  # as the paper's tables print it
    aliases: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = "a data set of one's own"
    source: ClassVar[str] = RECIPE_SOURCE
    revision: ClassVar[str] = RECIPE_REVISION
    licence: ClassVar[str] = "not stated"
    citation: ClassVar[str] = "none"
    files: ClassVar[Mapping[Split, PublishedFile]]
    # Kind of locality probe -> how far it is from the edit, for the metric set `distance`.
    distances: ClassVar[Mapping[str, str]] = {}
    home: Path | None = None  # folder of its code, where it is a user's own
    source_digest: str | None = None  # of that code

    @abstractmethod
    def read(self, row: Row, sample_id: str) -> EditSample:
        """The sample of one row, with its texts as they stand in the file.

        Raises:
            ValueError: a field is absent or of the wrong type.
        """

    def directory(self, split: Split, given: Path) -> Path:
        """Where a split's file is to be found: beside its own code if it lies there, else `given`.

        Raises:
            ValueError: a split that it has not.
        """
        if split not in self.files:
            raise ValueError(f"The data set {self.label} has no {split} split.")
        if self.home is not None and (self.home / self.files[split].name).is_file():
            return self.home
        return given

    def load(self, split: Split, directory: Path) -> LoadedSamples:
        """All usable samples of a split, in file order; a sample's id ends in its row number.

        Raises:
            OSError: the directory or file is missing or cannot be read.
            ValueError: an unknown split, a malformed file or row, several candidate files, or no
                usable row.
        """
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        return self.load_file(split, locate(self.files[split], directory))

    def load_file(self, split: Split, path: Path) -> LoadedSamples:
        """As `load`, from a file already located."""
        content = path.read_bytes()
        tally = _Tally()
        rows = list(read_rows(path, content))
        samples: list[EditSample] = []
        for number, row in enumerate(rows):
            raw = self.read(row, f"{self.key}/{split}/{number}")
            samples += _usable(raw, split, tally)
        if not samples:
            reasons = "; ".join(f"{count} x {reason}" for reason, count in tally.skipped.items())
            raise ValueError(f"{path}: none of its {len(rows)} rows is usable ({reasons}).")
        return LoadedSamples(
            samples=tuple(samples),
            rows=len(rows),
            skipped=dict(tally.skipped),
            fallbacks=dict(tally.fallbacks),
            trimmed=tally.trimmed,
            digest=git_blob_id(content),
            path=path,
        )


def _usable(raw: EditSample, split: Split, tally: _Tally) -> list[EditSample]:
    """The sample with normalised texts, or none, with the reason counted."""
    if not raw.request.prompt.strip():
        tally.skipped[EMPTY_PROMPT] += 1
        return []
    if not raw.request.target.strip():
        tally.skipped[EMPTY_TARGET] += 1
        return []
    sample = dataclasses.replace(
        raw,
        request=_request(raw.request, tally),
        generality=_probes(raw.generality, tally),
        locality=_probes(raw.locality, tally),
    )
    if split == "train" and not (sample.generality and sample.locality):
        tally.skipped[UNPROBED] += 1
        return []
    return [sample]


def _request(raw: EditRequest, tally: _Tally) -> EditRequest:
    return EditRequest(
        prompt=raw.prompt,
        target=_trimmed(raw.target, tally),
        subject=_subject(raw.subject, raw.prompt, tally),
    )


def _probes(raw: tuple[Probe, ...], tally: _Tally) -> tuple[Probe, ...]:
    usable = [p for p in raw if p.prompt.strip() and p.target.strip()]
    if len(usable) < len(raw):
        tally.skipped[EMPTY_PROBE] += len(raw) - len(usable)
    return tuple(dataclasses.replace(p, target=_trimmed(p.target, tally)) for p in usable)


def _trimmed(target: str, tally: _Tally) -> str:
    trimmed = target.lstrip()
    tally.trimmed += trimmed != target
    return trimmed


def _subject(subject: str, prompt: str, tally: _Tally) -> str:
    """The subject as the prompt spells it, where the prompt holds it at all."""
    if subject.strip() and subject in prompt:
        return subject
    found = re.search(re.escape(subject), prompt, re.IGNORECASE) if subject.strip() else None
    tally.fallbacks[OTHER_CASE if found else NO_SUBJECT] += 1
    return found.group() if found else subject
