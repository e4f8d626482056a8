"""What every edit data set is: declared metadata and files, and rows turned into samples."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from bench.core.names import unknown_name
from bench.datasets.rows import Row, read_rows
from editors.base import EditRequest, EditSample, Probe
from editors.parts.checks import NO_TEXT, PROMPT, TARGET
from editors.parts.texts import as_spelt, is_inside_a_word, subject_span

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

# The released repository of the RECIPE paper, the only source of all six files in one form.
RECIPE_SOURCE = "https://github.com/qizhou000/RECIPE"
RECIPE_REVISION = "b8ff1fc2c649d44dc88d2d4fccfa14343066a835"
# Sub-folders searched below the given directory: enough for a checkout of the RECIPE repository
# (data/evaluation/ripple_effect/ripe_test.json) inside one more folder.
SEARCH_DEPTH = 4

# Reasons, as reports and records print them.
EMPTY_TARGET = "row with an empty target"
EMPTY_PROMPT = "row with an empty prompt"
UNPROBED = "training row without a generality or without a locality probe"
EMPTY_PROBE = "probe with an empty prompt or target"
UNFILLED = "row with an unfilled {} in its prompt"
UNFILLED_PROBE = "probe with an unfilled {} in its prompt"
FILLED = "prompt whose {} took the subject"
OTHER_CASE = "subject in another letter case in the prompt"
NO_SUBJECT = "subject not in the prompt"
PART_OF_WORD = "subject inside a longer word of the prompt"
OF_SUBJECT = (OTHER_CASE, NO_SUBJECT, PART_OF_WORD)
TRIMMED = "text trimmed of white space, or subject in another Unicode form"
# Reasons by what an `EditRequest` says.
_EMPTY = {NO_TEXT.format(PROMPT): EMPTY_PROMPT, NO_TEXT.format(TARGET): EMPTY_TARGET}
_NAMED = 3  # rows that are too long, in a line
# The place for the subject in prompts that are templates, as other releases spell it.
_SLOT = re.compile(r"\{(?:0|subject)?\}|\[X\]")


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One split as its authors published it."""

    path: str  # inside the source repository; its last part is the name searched for
    # Patterns of other names accepted: parts and conversions of the set.
    variants: tuple[str, ...] = ()
    rows: int = 0  # 0: not stated
    git_blob: str = ""  # what `git hash-object FILE` prints; empty: not stated

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class LoadedSamples:
    """The samples of one split, and counts of everything that was skipped or changed.

    `skipped` and `fallbacks` map a reason to its count. A prompt that has `{}` in place of its
    subject takes the subject. A subject in another letter case takes the prompt's spelling. A
    subject that is not in the prompt stays as it is, and editors that need its position use the
    prompt's last token.
    """

    samples: tuple[EditSample, ...]
    rows: int  # in the file
    skipped: Mapping[str, int]
    fallbacks: Mapping[str, int]
    trimmed: int  # texts whose outer white space, or Unicode form, was changed
    digest: str  # git blob id of the file
    path: Path
    too_long: tuple[str, ...] = ()  # what the rows have that do not fit a model, in words

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
        trimmed = {TRIMMED: self.trimmed}
        groups = (("skipped", self.skipped), ("fallback", self.fallbacks), ("changed", trimmed))
        counted = tuple(
            f"{name}: {count:,} x {reason}"
            for name, counts in groups
            for reason, count in counts.items()
            if count
        )
        more = ", .." * (len(self.too_long) > _NAMED)
        named = f"too long: {', '.join(self.too_long[:_NAMED])}{more}"
        return (*counted, named) if self.too_long else counted

    def without(self, too_long: Mapping[str, str], reason: str) -> LoadedSamples:
        """Without the samples of some ids, counted under a reason; `too_long` says what of them.

        Raises:
            ValueError: none is left.
        """
        if not too_long:
            return self
        left = dataclasses.replace(
            self,
            samples=tuple(sample for sample in self.samples if sample.id not in too_long),
            skipped={**self.skipped, reason: len(too_long)},
            too_long=tuple(too_long.values()),
        )
        if not left.samples:
            raise ValueError(f"{self.path}: no row is left ({'; '.join(left.notes())}).")
        return left


class EditDataset(ABC):
    """A set of edits with probes. A subclass declares its metadata and maps a row to a sample."""

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
    home: Path | None = None  # folder of its code, for a user's own data set
    source_digest: str | None = None  # of that code

    @abstractmethod
    def read(self, row: Row, sample_id: str) -> EditSample:
        """The sample of one row, its texts as they are in the file; ValueError for a bad field."""

    @property
    def names(self) -> set[str]:
        """Every name that selects it, in lower case."""
        return {name.lower() for name in (self.key, self.label, *self.aliases)}

    def directory(self, split: Split, given: Path) -> Path:
        """Where a split's file is: beside the data set's own code if it is there, else `given`."""
        if split not in self.files:
            raise ValueError(f"The data set {self.label} has no {split} split.")
        if self.home is not None and (self.home / self.files[split].name).is_file():
            return self.home
        return given

    def load(self, split: Split, directory: Path) -> LoadedSamples:
        """All usable samples of a split, in file order; a sample's id ends in its row's name.

        Raises:
            OSError: the directory or file is missing or cannot be read.
            ValueError: an unknown split, a malformed file or row, several candidate files, or no
                usable row.
        """
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        return self.load_file(split, locate(self.files[split], directory))

    def load_file(self, split: Split, path: Path) -> LoadedSamples:
        """As `load`, from a file already located; the same content is read once in a process."""
        return _loaded(self, split, path, path.read_bytes())


@lru_cache(maxsize=3)  # the test splits of a run
def _loaded(dataset: EditDataset, split: Split, path: Path, content: bytes) -> LoadedSamples:
    tally = _Tally()
    rows = list(read_rows(path, content, null_is_empty=True))
    samples: list[EditSample] = []
    for row in rows:
        try:
            raw = dataset.read(row, f"{dataset.key}/{split}/{row.name}")
        except ValueError as error:
            sentence = str(error)
            if sentence not in _EMPTY:
                named = sentence.startswith(row.where)
                raise ValueError(sentence if named else f"{row.where}: {sentence}") from error
            tally.skipped[_EMPTY[sentence]] += 1
            continue
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


# ---- finding a file ----------------------------------------------------------------------------


def locate(file: PublishedFile, directory: Path) -> Path:
    """The file under `directory`: by its published name, else by a pattern of its variants.

    Where a name ends in `.json`, one in `.jsonl` is taken too. Sub-folders are searched
    `SEARCH_DEPTH` deep, hidden ones are not.

    Raises:
        OSError: the directory or the file is missing, or a folder cannot be read.
        ValueError: several files fit.
    """
    if not directory.is_dir():
        raise NotADirectoryError(
            f"{directory} is not a directory: wanted the one with {file.name}."
        )
    present = _files_below(directory)
    others = [name for pattern in file.variants for name in (pattern, f"{pattern}l")]
    for patterns in ([file.name], [f"{file.name}l"], others):
        fitting = [p for p in present if any(fnmatch(p.name, pattern) for pattern in patterns)]
        if len(fitting) > 1:
            raise ValueError(
                f"Several files under {directory} could be {file.name}: "
                f"{', '.join(str(p.relative_to(directory)) for p in fitting)}. Wanted one."
            )
        if fitting:
            return fitting[0]
    nor = f" (nor {' or '.join(file.variants)})" if file.variants else ""
    raise FileNotFoundError(
        f"No {file.name}{nor} in {directory} or up to {SEARCH_DEPTH} folders below it."
    )


def _files_below(directory: Path) -> list[Path]:
    files: dict[Path, Path] = {}  # by real path, so that links do not make a file ambiguous
    for folder, folders, names in os.walk(directory, onerror=_raise, followlinks=True):
        here = Path(folder)
        deep = len(here.relative_to(directory).parts) >= SEARCH_DEPTH
        folders[:] = [] if deep else sorted(f for f in folders if not f.startswith("."))
        for name in sorted(n for n in names if n.endswith((".json", ".jsonl"))):
            files.setdefault((here / name).resolve(), here / name)
    return list(files.values())


def _raise(error: OSError) -> None:
    raise error


def git_blob_id(content: bytes) -> str:
    """The id that git gives a file with this content (what `git hash-object` prints)."""
    header = b"blob %d\0" % len(content)
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


# ---- from rows to samples ----------------------------------------------------------------------


@dataclass
class _Tally:
    skipped: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    trimmed: int = 0


def _usable(raw: EditSample, split: Split, tally: _Tally) -> list[EditSample]:
    """The sample with normalised texts, or none, with the reason counted."""
    request = raw.request
    prompt = _filled(request.prompt, request.subject, tally)
    if prompt is None:
        tally.skipped[UNFILLED] += 1
        return []
    sample = dataclasses.replace(
        raw,
        request=EditRequest(
            prompt=prompt,
            target=_trimmed(request.target, tally),
            subject=_subject(request.subject, prompt, tally),
        ),
        generality=_probes(raw.generality, request.subject, tally),
        locality=_probes(raw.locality, "", tally),  # about other subjects
    )
    if split == "train" and not (sample.generality and sample.locality):
        tally.skipped[UNPROBED] += 1
        return []
    return [sample]


def _probes(raw: tuple[Probe, ...], subject: str, tally: _Tally) -> tuple[Probe, ...]:
    usable = []
    for probe in raw:
        prompt = _filled(probe.prompt, subject, tally)
        if not probe.prompt.strip() or not probe.target.strip():
            tally.skipped[EMPTY_PROBE] += 1
        elif prompt is None:
            tally.skipped[UNFILLED_PROBE] += 1
        else:
            target = _trimmed(probe.target, tally)
            usable.append(dataclasses.replace(probe, prompt=prompt, target=target))
    return tuple(usable)


def _filled(prompt: str, subject: str, tally: _Tally) -> str | None:
    """The prompt with the subject in its open place; None where there is none to fill it with.

    White space at its end goes: a target brings its own space.
    """
    tally.trimmed += prompt != prompt.rstrip() != ""
    prompt, subject = prompt.rstrip(), subject.strip()
    if not _SLOT.search(prompt) or (subject and subject in prompt):
        return prompt
    if not subject:
        return None
    tally.fallbacks[FILLED] += 1
    return _SLOT.sub(lambda _: subject, prompt)


def _trimmed(target: str, tally: _Tally) -> str:
    trimmed = target.lstrip()
    tally.trimmed += trimmed != target
    return trimmed


def _subject(subject: str, prompt: str, tally: _Tally) -> str:
    """The subject as the prompt spells it, if the prompt contains it at all."""
    spelt, span = as_spelt(subject, prompt), subject_span(prompt, subject)
    if span is None:
        tally.fallbacks[NO_SUBJECT] += 1
    elif is_inside_a_word(prompt, span):
        tally.fallbacks[PART_OF_WORD] += 1
    elif spelt.casefold() != subject.casefold():
        tally.trimmed += 1
    elif spelt != subject:
        tally.fallbacks[OTHER_CASE] += 1
    return spelt
