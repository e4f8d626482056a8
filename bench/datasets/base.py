"""What every edit data set is: declared metadata and files, and rows turned into samples."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from bench.core.names import unknown_name
from bench.datasets.rows import Row, read_rows
from editors.base import EditRequest, EditSample, Probe
from editors.parts.checks import NO_TEXT, PROMPT, TARGET, is_blank
from editors.parts.texts import as_spelt, is_inside_a_word, subject_span

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

# The released repository of the RECIPE paper, the only source of all six files in one form.
RECIPE_SOURCE = "https://github.com/qizhou000/RECIPE"
RECIPE_REVISION = "b8ff1fc2c649d44dc88d2d4fccfa14343066a835"
UNSTATED = "not stated"
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
    """One split as its authors published it.

    Where they published it in several files, `parts` names them, in order, and `path` is the folder
    that they are in, empty for the top one. Those that are present are read.
    """

    path: str  # inside the source repository; its last part is the name searched for
    parts: tuple[str, ...] = ()
    # Patterns of other names accepted: parts and conversions of the set.
    variants: tuple[str, ...] = ()
    rows: int = 0  # 0: not stated
    git_blob: str = ""  # what `git hash-object FILE` prints; empty: not stated

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def __str__(self) -> str:
        if not self.parts:
            return self.path
        first, *others = self.parts
        return f"{self.path and f'{self.path}/'}{first} and {len(others)} others"


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
    skipped_rows: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by reason, by name

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
            f"{name}: {count:,} x {reason}{self._rows(reason)}"
            for name, counts in groups
            for reason, count in counts.items()
            if count
        )
        more = ", .." * (len(self.too_long) > _NAMED)
        named = f"too long: {', '.join(self.too_long[:_NAMED])}{more}"
        return (*counted, named) if self.too_long else counted

    def _rows(self, reason: str) -> str:
        """The first rows that were skipped for a reason, as far as they are known."""
        names = self.skipped_rows.get(reason, ())
        more = ", .." * (len(names) > _NAMED)
        return f" (row {', '.join(names[:_NAMED])}{more})" if names else ""

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
    licence: ClassVar[str] = UNSTATED
    citation: ClassVar[str] = "none"
    files: ClassVar[Mapping[Split, PublishedFile]]
    # Kind of locality probe -> how far it is from the edit, for the metric set `distance`.
    distances: ClassVar[Mapping[str, str]] = {}
    home: Path | None = None  # folder of its code, for a user's own data set
    source_digest: str | None = None  # of that code

    @abstractmethod
    def read(self, row: Row, sample_id: str) -> EditSample | tuple[EditSample, ...]:
        """The sample of one row, its texts as they are in the file; ValueError for a bad field.

        A row of several edits has several, with ids of their own.
        """

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
        try:
            path = locate(self.files[split], directory)
        except FileNotFoundError as error:
            where = f"`python -m bench data show {self.key}` says where it is published."
            raise FileNotFoundError(str(error) if self.home else f"{error} {where}") from error
        return self.load_file(split, path)

    def load_file(self, split: Split, path: Path) -> LoadedSamples:
        """As `load`, from what `locate` has returned; equal content is read once in a process."""
        parts = [path / part for part in self.files[split].parts if (path / part).is_file()]
        return _loaded(self, split, path, tuple((p, p.read_bytes()) for p in parts or [path]))


@lru_cache(maxsize=3)  # the test splits of a run
def _loaded(
    dataset: EditDataset, split: Split, path: Path, files: tuple[tuple[Path, bytes], ...]
) -> LoadedSamples:
    tally = _Tally()
    rows = list(_rows(files))
    samples: list[EditSample] = []
    for row in rows:
        try:
            read = dataset.read(row, f"{dataset.key}/{split}/{row.name}")
        except ValueError as error:
            sentence = str(error)
            if sentence not in _EMPTY:
                named = sentence.startswith(row.where)
                raise ValueError(sentence if named else f"{row.where}: {sentence}") from error
            tally.skip(_EMPTY[sentence], row.name)
            continue
        for raw in read if isinstance(read, tuple) else (read,):
            samples += _usable(raw, split, tally, row.name)
    if not samples:
        reasons = "; ".join(f"{len(names)} x {why}" for why, names in tally.skipped.items())
        raise ValueError(f"{path}: none of its {len(rows)} rows is usable ({reasons}).")
    return LoadedSamples(
        samples=tuple(samples),
        rows=len(rows),
        skipped={reason: len(names) for reason, names in tally.skipped.items()},
        fallbacks=dict(tally.fallbacks),
        trimmed=tally.trimmed,
        digest=_digest([content for _, content in files]),
        path=path,
        skipped_rows=tally.skipped,
    )


def _rows(files: Sequence[tuple[Path, bytes]]) -> Iterator[Row]:
    """Those of all files; where there are several, a row is named after its file too."""
    for path, content in files:
        for row in read_rows(path, content, null_is_empty=True):
            several = len(files) > 1
            yield dataclasses.replace(row, name=f"{path.stem}-{row.name}") if several else row


def _digest(contents: Sequence[bytes]) -> str:
    """The git blob id of one file, or of the list of those of several."""
    ids = list(map(git_blob_id, contents))
    return ids[0] if len(ids) == 1 else git_blob_id("\n".join(ids).encode())


# ---- finding a file ----------------------------------------------------------------------------


def locate(file: PublishedFile, directory: Path) -> Path:
    """The file under `directory`: by its published name, else by a pattern of its variants.

    Where a name ends in `.json`, one in `.jsonl` is taken too. Sub-folders are searched
    `SEARCH_DEPTH` deep, hidden ones are not. Of a split in parts it is their folder.

    Raises:
        OSError: the directory or the file is missing, or a folder cannot be read.
        ValueError: several files fit.
    """
    if not directory.is_dir():
        raise NotADirectoryError(
            f"{directory} is not a directory: wanted the one with {file.name or file}."
        )
    present = _files_below(directory)
    for fitting in _fitting_folders(file, present) if file.parts else _fitting(file, present):
        if len(fitting) > 1:
            raise ValueError(
                f"Several files under {directory} could be {file.name or file}: "
                f"{', '.join(str(p.relative_to(directory)) for p in fitting)}. Wanted one."
            )
        if fitting:
            return fitting[0]
    nor = f" (nor {' or '.join(file.variants)})" if file.variants else ""
    raise FileNotFoundError(
        f"No {file if file.parts else file.name}{nor} in {directory} or up to {SEARCH_DEPTH} "
        "folders below it."
    )


def _fitting(file: PublishedFile, present: Sequence[Path]) -> Iterator[list[Path]]:
    """The files that fit each kind of name, the published one first."""
    others = [name for pattern in file.variants for name in (pattern, f"{pattern}l")]
    for patterns in ([file.name], [f"{file.name}l"], others):
        yield [p for p in present if any(fnmatch(p.name, pattern) for pattern in patterns)]


def _fitting_folders(file: PublishedFile, present: Sequence[Path]) -> Iterator[list[Path]]:
    """The folders that have parts of a split."""
    parts = [path for path in present if path.name in file.parts]
    folders = dict.fromkeys(path.parent for path in parts)
    yield [p for p in folders if not file.name or p.absolute().name == file.name]


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
    skipped: dict[str, list[str]] = field(default_factory=dict)  # names of rows by reason
    fallbacks: Counter[str] = field(default_factory=Counter)
    trimmed: int = 0

    def skip(self, reason: str, row: str) -> None:
        self.skipped.setdefault(reason, []).append(row)


def _usable(raw: EditSample, split: Split, tally: _Tally, row: str) -> list[EditSample]:
    """The sample with normalised texts, or none, with the reason counted."""
    request = raw.request
    prompt = _filled(request.prompt, request.subject, tally)
    if prompt is None:
        tally.skip(UNFILLED, row)
        return []
    sample = dataclasses.replace(
        raw,
        request=EditRequest(
            prompt=prompt,
            target=_trimmed(request.target, tally),
            subject=_subject(request.subject, prompt, tally),
        ),
        generality=_probes(raw.generality, request.subject, tally, row),
        locality=_probes(raw.locality, "", tally, row),  # about other subjects
        portability=_probes(raw.portability, request.subject, tally, row),
        former=raw.former.strip(),
    )
    if split == "train" and not (sample.generality and sample.locality):
        tally.skip(UNPROBED, row)
        return []
    return [sample]


def _probes(raw: tuple[Probe, ...], subject: str, tally: _Tally, row: str) -> tuple[Probe, ...]:
    usable = []
    for probe in raw:
        prompt = _filled(probe.prompt, subject, tally)
        if is_blank(probe.prompt) or is_blank(probe.target):
            tally.skip(EMPTY_PROBE, row)
        elif prompt is None:
            tally.skip(UNFILLED_PROBE, row)
        else:
            target = _trimmed(probe.target, tally)
            hops = ((question.rstrip(), answer.lstrip()) for question, answer in probe.hops)
            usable.append(
                dataclasses.replace(
                    probe, prompt=prompt, target=target, hops=tuple(hop for hop in hops if all(hop))
                )
            )
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
    trimmed = target.strip()
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
