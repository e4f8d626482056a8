"""Text corpora: a file, a directory, the embedded world's, Wikipedia or WikiText from the hub.

A `.txt` file has one document a line, a `.jsonl` file one object with `text` a line; files of a
directory are read in the order of their paths.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from pathlib import Path

from bench.core.files import cached_digest, digest_of_files
from bench.world.store import data_dir

WIKIPEDIA, WIKITEXT = "wikipedia", "wikitext-103"
DOCUMENTS = 4_000  # read by default, ours
PAPER_DOCUMENTS = 100_000  # articles that ROME and MEMIT read
# Ours, of the embedded world's corpus: some 500 tokens for each key dimension of a miniature
# backbone, read in seconds.
EMBEDDED_TOKENS = 200_000
BESIDE_DATA = "corpus.txt"
TEXTS = 50  # of the fixed text of metrics; ours
FACTS_IN_A_TEXT = 4

# Repository, configuration and revision of each.
HUB_TEXTS = {
    WIKIPEDIA: ("wikimedia/wikipedia", "20231101.en", "b04c8d1ceb2f5cd4588862100d08de323dccfbaa"),
    WIKITEXT: (
        "Salesforce/wikitext",
        "wikitext-103-raw-v1",
        "b08601e04326c79dfdd32d625aee71d232d685c3",
    ),
}
# The originals draw their articles at random; a stream is shuffled in a window (sizes are ours).
_HUB_SHUFFLE = {"seed": 0, "buffer_size": 10_000}
_SUFFIXES = (".txt", ".jsonl")


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents in a fixed order, and how much of them is read."""

    place: str  # a path, or a name of `HUB_TEXTS`
    digest: str  # of the contents
    documents: int  # at most
    tokens: int | None = None  # at most; None reads on

    @property
    def identity(self) -> str:
        """What distinguishes the statistics of this corpus from another's."""
        return f"{self.digest} documents {self.documents} tokens {self.tokens}"

    @property
    def remote(self) -> bool:
        """Whether it is streamed from the hub."""
        return self.place in HUB_TEXTS

    def texts(self) -> Iterator[str]:
        """The documents that are read, without empty ones.

        Raises:
            OSError: a file cannot be read, or the hub cannot be reached.
            ValueError: a file is not UTF-8, or a line of a `.jsonl` file no object with a `text`.
        """
        lines = _hub_texts(self.place) if self.remote else _file_texts(Path(self.place))
        texts = (text.strip() for text in lines)
        return islice((text for text in texts if text), self.documents)


def open_corpus(place: str, *, documents: int = DOCUMENTS, tokens: int | None = None) -> Corpus:
    """The corpus at a path, or one of the hub by its name.

    Raises:
        OSError: no file of a known form is there.
    """
    if place in HUB_TEXTS:
        repository, configuration, revision = HUB_TEXTS[place]
        digest = f"{repository}@{revision}/{configuration}/{_HUB_SHUFFLE}"
    else:
        files = _files(Path(place))
        digest = cached_digest(files[0]) if len(files) == 1 else digest_of_files(files)
        if len(files) == 1 and files[0].suffix != ".txt":  # equal bytes are other documents there
            digest += f" {files[0].suffix}"
    return Corpus(place=place, digest=digest, documents=documents, tokens=tokens)


def embedded_corpus(world_seed: int) -> Corpus:
    """The text on which the miniature backbones' statistics are computed."""
    place = data_dir(world_seed) / BESIDE_DATA
    return open_corpus(str(place), tokens=EMBEDDED_TOKENS)


def _files(place: Path) -> list[Path]:
    files = [place] if place.is_file() else sorted(place.rglob("*"))
    readable = [path for path in files if path.suffix in _SUFFIXES]
    if not readable:
        raise FileNotFoundError(
            f"No corpus at {place}: expected a {' or '.join(_SUFFIXES)} file, a directory of "
            f"them, or one of {', '.join(HUB_TEXTS)}."
        )
    return readable


def _file_texts(place: Path) -> Iterator[str]:
    for path in _files(place):
        with path.open(encoding="utf-8") as lines:
            try:
                for number, line in enumerate(lines, start=1):
                    yield line if path.suffix == ".txt" else _text_of(line, path, number)
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} is not UTF-8 text: {error.reason}.") from error


def _text_of(line: str, path: Path, number: int) -> str:
    try:
        return str(json.loads(line)["text"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}, line {number} is no JSON object with a text.") from error


def _hub_texts(name: str) -> Iterator[str]:
    """Articles or lines, streamed: nothing is stored on this machine."""
    from datasets import load_dataset

    repository, configuration, revision = HUB_TEXTS[name]
    try:
        rows = load_dataset(
            repository, configuration, split="train", revision=revision, streaming=True
        )
        for row in rows.shuffle(**_HUB_SHUFFLE):
            yield str(row["text"])
    except Exception as error:  # the hub client raises many kinds: offline, http, no such file
        raise OSError(
            f"Cannot stream {repository} from the hub ({type(error).__name__}); check the network, "
            "or give a local text corpus with --corpus."
        ) from error


# ---- the fixed text of metric sets -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MeasureInputs:
    """What metric sets read beside the model and the edits: plain values that workers can get."""

    world_seed: int | None = None  # of the embedded world; None for real data
    text: str | None = None  # a corpus as `open_corpus` takes it; None: the world's text

    def texts(self) -> Sequence[str]:
        """The fixed text that no edit is about.

        Raises:
            OSError: the corpus cannot be read.
            ValueError: it is empty, or none was named and there is no embedded world.
        """
        if self.text is None:
            if self.world_seed is None:
                raise ValueError(
                    "Measuring a collapse on real data needs a fixed text: --measure-text PATH, "
                    "such as the test split of WikiText-2 with one paragraph a line."
                )
            return world_texts(self.world_seed)
        texts = tuple(open_corpus(self.text, documents=TEXTS).texts())
        if not texts:
            raise ValueError(f"The text {self.text} is empty.")
        return texts

    def text_digest(self) -> str:
        """A digest of the text; errors as in `texts`."""
        return sha256("\n".join(self.texts()).encode()).hexdigest()[:16]


NO_INPUTS = MeasureInputs()


@lru_cache(maxsize=2)
def world_texts(seed: int) -> tuple[str, ...]:
    """A text of the embedded world: taught facts that no test edit touches, in taught phrasings.

    Its draws are its own, so no training corpus contains it.
    """
    from bench.world.world import World

    world = World(seed)
    rng = world.rng("fixed text of metrics")
    facts = world.core_unedited
    texts = []
    for _ in range(TEXTS):
        drawn = [facts[int(i)] for i in rng.integers(len(facts), size=FACTS_IN_A_TEXT)]
        texts.append(" ".join(f"{world.taught_phrasing(f, rng)} {f.object}." for f in drawn))
    return tuple(texts)
