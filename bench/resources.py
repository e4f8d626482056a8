"""What editors need beside a model, made once and kept: covariances, context templates, weights.

Everything here describes the pristine model, so it is made before the first edit. Files are named
by what they were computed from, and appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.backbones import EMBEDDED, HUB_IDS
from bench.digests import digest_of_file
from bench.files import write_text
from bench.hub import ROBERTA_BASE, snapshot
from bench.world.store import assets_dir, cache_root, data_dir, require_assets
from editors import registry

if TYPE_CHECKING:
    from torch import Tensor

    from editors.base import Hparams, Resources
    from editors.parts.language_model import LanguageModel

CORPUS = "corpus.txt"  # one document a line
DOCUMENTS = 100_000  # of the corpus, as many as the originals read of Wikipedia
# Ours, of the embedded world's corpus: some 500 tokens for each key dimension of a miniature
# backbone, read in seconds.
EMBEDDED_TOKENS = 200_000


class UntrainedEditorError(FileNotFoundError):
    """An editor's own weights have not been trained for this backbone."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Files that an editor's resources are made from; None where it needs none."""

    corpus: Path | None = None
    corpus_tokens: int | None = None  # read no more of the corpus than that; None reads on
    encoder: Path | None = None
    artefact: Path | None = None

    def digests(self) -> dict[str, str]:
        """sha256 of each source, for a cell's identity; of the encoder, the artefact tells."""
        files = {"corpus": self.corpus, "artefact": self.artefact}
        return {name: _file_digest(path) for name, path in files.items() if path is not None}


def sources_for(
    editor: str,
    backbone: str,
    hparams: Hparams,
    *,
    dataset: str,
    directory: Path | None = None,
    world_seed: int = 0,
) -> Sources:
    """Where an editor's resources come from.

    Args:
        editor: key, label or alias.
        backbone: the backbone's name.
        hparams: of the editor.
        dataset: key of the data set; an artefact trained on it alone is taken before a mixed one.
        directory: real data files, beside which a corpus may lie.
        world_seed: of the embedded world.

    Raises:
        FileNotFoundError: a corpus is needed and not there.
        UntrainedEditorError: trained weights are needed and not there.
    """
    from editors.base import TrainableEditor

    trainable = issubclass(registry.editor_class(editor), TrainableEditor)
    corpus, tokens = None, None
    if hparams.uses_covariance:
        corpus, tokens = _corpus(backbone, directory, world_seed)
    return Sources(
        corpus=corpus,
        corpus_tokens=tokens,
        encoder=encoder_directory(hub=backbone in HUB_IDS, world_seed=world_seed)
        if trainable
        else None,
        artefact=_artefact(editor, backbone, dataset, world_seed) if trainable else None,
    )


def encoder_directory(*, hub: bool, world_seed: int = 0, option: str | None = None) -> Path:
    """The retriever's pre-trained encoder: roberta-base of the hub, or the embedded world's.

    Raises:
        OSError: it is not there, or cannot be had.
    """
    if hub:
        return snapshot(ROBERTA_BASE, ("*.json", "*.txt", "*.safetensors"), option=option)
    return require_assets(world_seed, "mini-roberta")


def resources_for(
    lm: LanguageModel, hparams: Hparams, sources: Sources, *, seed: int = 0
) -> Resources:
    """The resources of one editor on a *pristine* model.

    Args:
        lm: the model before any edit.
        hparams: say which layers and templates are wanted.
        sources: files to make them from.
        seed: of the editor's own draws.
    """
    from editors.base import Resources

    layers = hparams.covariance_layers(lm.n_layers)
    matrices: dict[int, Tensor] = {}
    if layers and sources.corpus is not None:
        matrices = covariances(lm, sources.corpus, layers, max_tokens=sources.corpus_tokens)
    return Resources(
        encoder=sources.encoder,
        artefact=sources.artefact,
        covariance=matrices.__getitem__ if matrices else None,
        templates=context_templates(lm, hparams.template_lengths),
        seed=seed,
    )


def covariances(
    lm: LanguageModel, corpus: Path, layers: tuple[int, ...], *, max_tokens: int | None = None
) -> dict[int, Tensor]:
    """Key covariance [m, m] (float32) of each layer; what the cache lacks is computed in one pass.

    Raises:
        OSError: the corpus cannot be read, or the cache cannot be written.
        ValueError: the corpus is empty.
    """
    from safetensors.torch import load_file

    from editors.parts.covariance import second_moments

    length = int(lm.model.config.max_position_embeddings)
    stem = _digest(_identity(lm), _file_digest(corpus), str((DOCUMENTS, max_tokens, length)))
    paths = {layer: _statistics() / f"covariance-{stem}-{layer}.safetensors" for layer in layers}
    missing = [layer for layer in layers if not paths[layer].exists()]
    if missing:
        texts = _documents(corpus)
        found = second_moments(lm, texts, missing, max_length=length, max_tokens=max_tokens)
        for layer, moment in found.items():
            _write_tensor(paths[layer], moment.matrix.float(), tokens=moment.tokens)
    return {layer: load_file(path)["matrix"] for layer, path in paths.items()}


def context_templates(lm: LanguageModel, lengths: tuple[int, ...]) -> tuple[str, ...]:
    """The bare template, and one of the model's own prefixes for each length."""
    from editors.parts.templates import BARE, TEMPLATE_SEED, generate_templates

    if not lengths:
        return (BARE,)
    name = _digest(_identity(lm), str((lengths, TEMPLATE_SEED)))
    path = _statistics() / f"templates-{name}.json"
    if not path.exists():
        made = generate_templates(lm, lengths)
        write_text(path, json.dumps(made, ensure_ascii=False, indent=1) + "\n")
    return tuple(json.loads(path.read_text("utf-8")))


def _corpus(backbone: str, directory: Path | None, world_seed: int) -> tuple[Path, int | None]:
    """A corpus and how much of it to read.

    One beside the data comes first, then the embedded world's; a named large model never gets that.
    """
    if directory is not None and (directory / CORPUS).is_file():
        return directory / CORPUS, None
    if backbone in HUB_IDS:
        raise FileNotFoundError(
            f"The key covariance of {backbone} needs a text corpus, one document a line, "
            f"at {(directory or Path('DATA')) / CORPUS}; the originals took 100,000 Wikipedia "
            "articles."
        )
    return data_dir(world_seed) / CORPUS, EMBEDDED_TOKENS


def _artefact(editor: str, backbone: str, dataset: str, world_seed: int) -> Path:
    from editors.parts.artefact import artefact_path

    key = registry.resolve(editor)
    directories = [Path("artefacts")]
    if backbone in EMBEDDED:
        directories.insert(0, assets_dir(world_seed) / "artefacts")
    for directory in directories:
        for trained_on in ([dataset], []):
            path = artefact_path(directory, key, backbone, trained_on)
            if path.is_file():
                return path
    raise UntrainedEditorError(
        f"{registry.describe(key).label} has no trained weights for {backbone} in "
        f"{directories[0]}; `python -m bench train --editor {key} --backbone {backbone}` "
        "makes them."
    )


def _documents(corpus: Path) -> Iterator[str]:
    with corpus.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number == DOCUMENTS:
                return
            if line.strip():
                yield line.strip()


def _identity(lm: LanguageModel) -> str:
    """What tells this model's statistics from another's: its digest, else that of its weights."""
    digest = lm.digest or _weights_digest(lm)
    return f"{digest} {lm.dtype}"


def _weights_digest(lm: LanguageModel) -> str:
    whole = hashlib.sha256()
    for name, tensor in sorted(lm.model.state_dict().items()):
        whole.update(name.encode())
        whole.update(tensor.detach().cpu().double().numpy().tobytes())
    return whole.hexdigest()


def _file_digest(path: Path) -> str:
    """sha256 of a file, which is read once in a process as long as it does not change."""
    status = path.stat()
    return _digest_at(path, status.st_mtime_ns, status.st_size)


@cache
def _digest_at(path: Path, modified: int, size: int) -> str:  # noqa: ARG001 - they are the key
    return digest_of_file(path)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _statistics() -> Path:
    return cache_root() / "statistics"


def _write_tensor(path: Path, matrix: Tensor, *, tokens: int) -> None:
    """Write under another name, then rename; nothing partial is left."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        save_file({"matrix": matrix.cpu().contiguous()}, partial, {"tokens": str(tokens)})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
