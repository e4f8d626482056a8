"""The text of key statistics on real data: the statements of the training splits.

A statement is a prompt with its answer, of an edit or of a question beside it. No test edit is
among them. All training splits of a directory count, whichever of its data sets are run, so that a
cell does not depend on the others of its run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from bench.core.files import cached_digest, write_text
from bench.core.names import DATASETS
from bench.core.progress import show_busy
from bench.datasets import get_dataset
from bench.datasets.base import locate
from bench.models.key_statistics import Corpus, open_corpus
from bench.world.store import cache_root
from editors.base import EditSample

IDENTITY = "training statements"  # what the identity of such a text begins with
# Ours: 65 tokens for each key dimension of SmolLM2-135M, in two minutes on one thread.
TOKENS = 100_000
_STATEMENTS = 16  # a line, ours: as much text as a paragraph
_VERSION = 1  # of how the text is composed


def training_corpus(directory: Path | None, documents: int | None = None) -> Corpus:
    """The statements of the training splits below a directory, in an order of no meaning.

    At most some `documents` are read, and `TOKENS`.

    Raises:
        FileNotFoundError: there is no training split.
    """
    located = {name: _training_file(name, directory) for name in DATASETS if directory is not None}
    files = {name: path for name, path in located.items() if path is not None}
    if not files:
        raise FileNotFoundError(
            f"{directory} has no training split of a data set, whose statements key statistics "
            "and memory texts are read from; --corpus names another text."
        )
    text = _corpus(tuple(files.items()), tuple(map(cached_digest, files.values())))
    return text if documents is None else replace(text, documents=documents)


def _training_file(name: str, directory: Path) -> Path | None:
    try:
        return locate(get_dataset(name).files["train"], directory)
    except FileNotFoundError:
        return None


@cache
def _corpus(files: tuple[tuple[str, Path], ...], digests: tuple[str, ...]) -> Corpus:
    """Written once into the cache, under a name that says of which files it is."""
    identity = hashlib.sha256("\n".join((str(_VERSION), *digests)).encode()).hexdigest()
    path = cache_root() / "texts" / f"{identity[:32]}.txt"
    if not path.is_file():
        with show_busy("writing the statements of the training splits, once"):
            write_text(path, _text(files))
    text = open_corpus(str(path), tokens=TOKENS)
    names = ", ".join(get_dataset(name).label for name, _ in files)
    return replace(text, digest=f"{IDENTITY} ({names}) {text.digest}")


def _text(files: Iterable[tuple[str, Path]]) -> str:
    """Lines of several statements, each once, sorted by their sha256: no data set comes first."""
    lines = {
        " ".join(statement.split())
        for name, path in files
        for sample in get_dataset(name).load_file("train", path).samples
        for statement in _statements(sample)
    }
    ordered = sorted(lines, key=lambda line: hashlib.sha256(line.encode()).digest())
    starts = range(0, len(ordered), _STATEMENTS)
    return "".join(f"{'. '.join(ordered[i : i + _STATEMENTS])}.\n" for i in starts)


def _statements(sample: EditSample) -> Iterator[str]:
    yield f"{sample.request.prompt} {sample.request.target}"
    for probe in (*sample.generality, *sample.locality):
        yield f"{probe.prompt} {probe.target}"
