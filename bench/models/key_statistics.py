"""Text corpora, and the statistics of a pristine backbone over them that editors read.

A corpus is a file, a directory, the embedded world's, Wikipedia or WikiText from the hub. A `.txt`
file has one document a line, a `.jsonl` file one object with `text` a line; files of a directory
are read in the order of their paths. `.npz` files are statistics that were computed elsewhere. Key
covariances and context templates are computed once and cached under a name that contains what they
were computed from.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.console import warn
from bench.core.files import (
    DamagedFileError,
    DamagedTensorsError,
    cached_digest,
    check_beside,
    digest_of_files,
    read_sealed,
    seal_beside,
    set_aside,
    write_sealed,
    write_text,
)
from bench.models.backbones import Backbone, tokenizer_of
from bench.models.imported_statistics import ELSEWHERE, SUFFIX, files_at, moment_of
from bench.world.store import cache_root, data_dir

if TYPE_CHECKING:
    from torch import Tensor

    from editors.parts.covariance import KeyMoments, SecondMoment
    from editors.parts.language_model import LanguageModel

    Progress = Callable[[KeyMoments], None]

WIKIPEDIA, WIKITEXT = "wikipedia", "wikitext-103"
DOCUMENTS = 4_000  # read by default, ours
PAPER_DOCUMENTS = 100_000  # articles that ROME and MEMIT read
# Ours, of the embedded world's corpus: some 500 tokens for each key dimension of a miniature
# backbone, read in seconds.
EMBEDDED_TOKENS = 200_000
BESIDE_DATA = "corpus.txt"

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
    def is_statistics(self) -> bool:
        """Whether it holds statistics that were computed elsewhere, and no text."""
        return not self.remote and bool(files_at(Path(self.place)))

    @property
    def remote(self) -> bool:
        """Whether it is streamed from the hub."""
        return self.place in HUB_TEXTS

    def texts(self) -> Iterator[str]:
        """The documents that are read, without empty ones; errors name the file, line or hub."""
        if self.is_statistics:
            raise ValueError(
                f"{self.place} holds statistics, and an editor reads text: wanted one."
            )
        lines = _hub_texts(self.place) if self.remote else _file_texts(Path(self.place))
        texts = (text.strip() for text in lines)
        return islice((text for text in texts if text), self.documents)


def open_corpus(place: str, *, documents: int = DOCUMENTS, tokens: int | None = None) -> Corpus:
    """The corpus at a path, or one of the hub by its name; OSError if no known file is there."""
    if place in HUB_TEXTS:
        repository, configuration, revision = HUB_TEXTS[place]
        digest = f"{repository}@{revision}/{configuration}/{_HUB_SHUFFLE}"
    else:
        files = _files(Path(place))
        digest = cached_digest(files[0]) if len(files) == 1 else digest_of_files(files)
        if files[0].suffix == SUFFIX:
            digest = f"{ELSEWHERE} {digest}"
        elif len(files) == 1 and files[0].suffix != ".txt":  # equal bytes are other documents there
            digest += f" {files[0].suffix}"
    return Corpus(place=place, digest=digest, documents=documents, tokens=tokens)


def embedded_corpus(world_seed: int) -> Corpus:
    """The text on which the miniature backbones' statistics are computed."""
    place = data_dir(world_seed) / BESIDE_DATA
    return open_corpus(str(place), tokens=EMBEDDED_TOKENS)


def _files(place: Path) -> list[Path]:
    if statistics := files_at(place):
        return statistics
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
        with path.open(encoding="utf-8-sig") as lines:
            try:
                for number, line in enumerate(lines, start=1):
                    if "\0" in line:  # as UTF-16 has, read as UTF-8
                        raise ValueError(f"{path} is not UTF-8 text: line {number} holds zeros.")
                    yield line if path.suffix == ".txt" else _text_of(line, path, number)
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} is not UTF-8 text: {error.reason}.") from error


def _text_of(line: str, path: Path, number: int) -> str:
    """The text of a line; a null and an empty line are empty, and so left out."""
    try:
        text = json.loads(line)["text"] if line.strip() else None
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}, line {number} is no JSON object with a text.") from error
    if not isinstance(text, str | None):
        raise ValueError(f"{path}, line {number}: wanted a string as text, got {text!r:.60}.")
    return text or ""


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


# ---- key covariances ---------------------------------------------------------------------------

# Ours: longer documents are cut there even if a model's context is longer.
LONGEST = 4096
SAVE_SECONDS = 120.0  # between two checkpoints of a computation
# Facts of covariance files written without a digest in them.
_UNSEALED = frozenset({"backbone", "backbone_digest", "corpus", "documents", "tokens"})
_LONGEST_LIST = 100  # characters: all layers of a deep model are too long for a file name
_REMEDY = "Start again, and it is computed again."


def covariance_paths(lm: LanguageModel, corpus: Corpus, layers: Sequence[int]) -> dict[int, Path]:
    """The file of each layer's key covariance, computed or not."""
    digest = _digest(identity_of(lm), corpus.identity, str(_max_length(lm)))
    return {layer: _directory() / f"covariance-{digest}-{layer}.safetensors" for layer in layers}


def covariances(lm: LanguageModel, corpus: Corpus, layers: Sequence[int]) -> dict[int, Tensor]:
    """Key covariance [m, m] (float32) of each layer; missing ones are computed in one pass."""
    paths = covariance_paths(lm, corpus, layers)
    missing = [str(layer) for layer, path in paths.items() if not _is_there(path)]
    if missing and corpus.remote:
        raise FileNotFoundError(
            f"The key covariance of {lm.name} at layers {', '.join(missing)} over "
            f"{corpus.place} ({corpus.documents:,} documents) is not there; python -m bench stats "
            "--preset paper computes it, or give a local text corpus with --corpus."
        )
    compute_covariances(lm, corpus, layers)
    return {layer: _matrix(path, layer) for layer, path in paths.items()}


def _matrix(path: Path, layer: int) -> Tensor:
    """The covariance in a file, which may be of a time when any number of tokens was taken."""
    from editors.parts.covariance import check_tokens

    tensors, facts = read_sealed(path, _UNSEALED)
    check_tokens(layer, int(facts["tokens"]), len(tensors["matrix"]))
    return tensors["matrix"]


def compute_covariances(
    lm: LanguageModel, corpus: Corpus, layers: Sequence[int], progress: Progress | None = None
) -> dict[int, Path]:
    """Compute the covariances that are missing or damaged; the files of all layers.

    The model is pristine. An interrupted computation continues from its last checkpoint and ends in
    the same bits. `progress` is called after every chunk of documents.

    Raises:
        ValueError: the corpus has no text, or fewer tokens than a key has dimensions.
    """
    from editors.parts.covariance import KeyMoments

    paths = covariance_paths(lm, corpus, layers)
    missing = [layer for layer, path in paths.items() if not _is_there(path)]
    if not missing:
        return paths
    if corpus.is_statistics:
        for layer in missing:
            moment = moment_of(lm, layer, Path(corpus.place))
            _write(paths[layer], lm, corpus, moment, documents=0)
        return paths
    checkpoint = _checkpoint(paths, missing)
    running = KeyMoments(lm, missing, max_length=_max_length(lm))
    _accumulate(running, corpus, checkpoint, progress)
    for layer, moment in running.moments().items():
        _write(paths[layer], lm, corpus, moment, documents=running.documents)
    checkpoint.unlink(missing_ok=True)
    return paths


def _write(
    path: Path, lm: LanguageModel, corpus: Corpus, moment: SecondMoment, *, documents: int
) -> None:
    facts = {
        "backbone": lm.name,
        "backbone_digest": lm.digest,
        "corpus": corpus.identity,
        "documents": str(documents),
        "tokens": str(moment.tokens),
    }
    write_sealed(path, {"matrix": moment.matrix.float()}, facts)


def read_facts(path: Path) -> dict[str, str]:
    """The header of a covariance file: backbone, corpus, documents, tokens."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def check_text(backbone: Backbone, corpus: Corpus) -> None:
    """Refuse a local corpus of fewer tokens than a key of the backbone has dimensions.

    No more is read than says so, and no model is loaded.

    Raises:
        ValueError: with both numbers.
    """
    from editors.parts.tokens import prompt_ids

    if corpus.is_statistics:
        return
    config = json.loads((backbone.directory / "config.json").read_text("utf-8"))
    hidden = config.get("hidden_size") or config.get("n_embd", 0)
    wanted = config.get("intermediate_size") or config.get("n_inner") or 4 * hidden
    tokenizer, tokens = tokenizer_of(backbone), 0
    for text in () if corpus.remote else corpus.texts():
        tokens += len(prompt_ids(tokenizer, text))
        if tokens >= wanted:
            return
    if not corpus.remote:
        raise ValueError(
            f"The corpus {corpus.place} has {tokens:,} tokens, fewer than the {wanted:,} "
            f"dimensions of {backbone.name}'s keys; key covariances want many times as many."
        )


def _accumulate(
    running: KeyMoments, corpus: Corpus, checkpoint: Path, progress: Progress | None
) -> None:
    if _is_there(checkpoint, frozenset()):
        running.load_state_dict(read_sealed(checkpoint, frozenset())[0])
    texts = islice(corpus.texts(), running.documents, None)
    saved = time.monotonic()
    for _ in running.read(texts, max_tokens=corpus.tokens):
        if progress is not None:
            progress(running)
        if time.monotonic() - saved > SAVE_SECONDS:
            write_sealed(checkpoint, running.state_dict(), {})
            saved = time.monotonic()


def _checkpoint(paths: Mapping[int, Path], layers: Sequence[int]) -> Path:
    """Of a computation of these layers; other layers have another one."""
    first, numbers = paths[layers[0]], "-".join(map(str, layers))
    if len(numbers) > _LONGEST_LIST:
        numbers = _digest(numbers)
    return first.with_name(f"{first.stem}-of-{numbers}.running")


def _is_there(path: Path, unsealed: frozenset[str] = _UNSEALED) -> bool:
    """Whether a file of tensors is present and sound; a damaged one is reported and set aside."""
    try:
        status = path.stat()
        _check_at(path, status.st_mtime_ns, status.st_size, unsealed)
    except FileNotFoundError:
        return False
    except DamagedTensorsError as error:
        _set_aside(path, error)
        return False
    return True


@cache
def _check_at(
    path: Path,
    modified: int,  # noqa: ARG001 - with the size it is the key: a changed file is read again
    size: int,  # noqa: ARG001
    unsealed: frozenset[str],
) -> None:
    """Read a file once in a process as long as it does not change."""
    read_sealed(path, unsealed)


def _set_aside(path: Path, error: ValueError) -> None:
    """Move a damaged file away, so that it is computed again."""
    with suppress(FileNotFoundError):  # another process has done so
        place = set_aside(path, path.stat())
    if place is not None:
        warn(f"warning: {error} It is set aside as {place.name}, and computed again.")


# ---- context templates -------------------------------------------------------------------------


def context_templates(lm: LanguageModel, lengths: tuple[int, ...]) -> tuple[str, ...]:
    """The bare template, and one of the model's own prefixes for each length."""
    from editors.parts.target_value import BARE, generate_templates

    if not lengths:
        return (BARE,)
    path = templates_path(identity_of(lm), lengths)
    if not has_templates(path):
        templates = generate_templates(lm, lengths)
        text = json.dumps(templates, ensure_ascii=False, indent=1) + "\n"
        seal_beside(path, text.encode())
        write_text(path, text)
    return read_templates(path)


def templates_path(identity: str, lengths: tuple[int, ...]) -> Path:
    """The file of a model's context templates, generated or not."""
    return _directory() / f"templates-{_digest(identity, str(lengths))}.json"


def read_templates(path: Path) -> tuple[str, ...]:
    """The templates in a file; DamagedFileError if they are not those that were written."""
    check_beside(path, _REMEDY)
    return tuple(json.loads(path.read_text("utf-8")))


def has_templates(path: Path) -> bool:
    """Whether a file of templates is present and sound; a damaged one is set aside."""
    if not path.exists():
        return False
    try:
        check_beside(path, _REMEDY)
    except DamagedFileError as error:
        _set_aside(path, error)
        return False
    return True


# ---- identities --------------------------------------------------------------------------------


def identity_of(lm: LanguageModel) -> str:
    """What distinguishes this model's statistics: its digest, else that of its weights."""
    return identity(lm.digest or _weights_digest(lm), str(lm.dtype).removeprefix("torch."))


def identity(digest: str, dtype: str) -> str:
    """As `identity_of`, of a model that is not loaded."""
    return f"{digest} {dtype}"


def _max_length(lm: LanguageModel) -> int:
    return min(int(lm.model.config.max_position_embeddings), LONGEST)


def _weights_digest(lm: LanguageModel) -> str:
    whole = hashlib.sha256()
    for name, tensor in sorted(lm.model.state_dict().items()):
        whole.update(name.encode())
        whole.update(tensor.detach().cpu().double().numpy().tobytes())
    return whole.hexdigest()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _directory() -> Path:
    return cache_root() / "statistics"
