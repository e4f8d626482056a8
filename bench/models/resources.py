"""What editors need beside a model: covariances, context templates, an encoder, weights.

Everything here describes the pristine model, so it is made before the first edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.checksums import cached_digest, check_trained, digest_of_files
from bench.core.console import warn
from bench.core.grids import variant_with
from bench.core.hub import ROBERTA_BASE, snapshot
from bench.core.names import ENCODER, unknown_name
from bench.models.backbones import EMBEDDED, HUB_IDS
from bench.models.corpora import (
    BESIDE_DATA,
    DOCUMENTS,
    PAPER_DOCUMENTS,
    WIKIPEDIA,
    WIKITEXT,
    Corpus,
    embedded_corpus,
    open_corpus,
)
from bench.models.key_statistics import context_templates, covariances, read_templates
from bench.models.model_files import PICKLED, check_no_code, check_weights
from bench.models.training_edits import TrainingEdits, training_edits
from bench.world.store import assets_dir, require_assets, variants_dir
from editors import registry

if TYPE_CHECKING:
    from torch import Tensor

    from editors.base import Hparams, Resources
    from editors.parts.language_model import LanguageModel

HUB_ENCODERS = {"roberta-base": ROBERTA_BASE}
_ENCODER_FILES = ("*.json", "*.txt", "*.safetensors")


class UntrainedEditorError(FileNotFoundError):
    """An editor's own weights have not been trained for this backbone."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a user said that sources are; None takes what belongs to the backbone."""

    data_dir: Path | None = None  # real data files, beside which a corpus may lie
    corpus: str | None = None  # a path, or `wikipedia`
    documents: int | None = None  # of the corpus
    encoder: str | None = None  # a name or a directory
    artefacts: Path | None = None  # a folder of trained weights, looked into after the shipped ones
    changed: frozenset[str] = frozenset()  # hyper-parameters that are not the preset's
    world_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Files that an editor's resources are made from; None where it needs none."""

    corpus: Corpus | None = None
    templates: Path | None = None
    encoder: Path | None = None
    artefact: Path | None = None
    training: TrainingEdits | None = None

    def digests(self) -> dict[str, str]:
        """What each source holds, for a cell's identity."""
        found = {} if self.corpus is None else {"corpus": self.corpus.identity}
        training = None if self.training is None else self.training.path
        files = {"templates": self.templates, "artefact": self.artefact, "training": training}
        found |= {name: cached_digest(path) for name, path in files.items() if path is not None}
        if self.encoder is not None:
            patterns = (sorted(self.encoder.glob(pattern)) for pattern in _ENCODER_FILES)
            found["encoder"] = digest_of_files([path for paths in patterns for path in paths])
        return found

    def check(self, inputs: Mapping[str, str]) -> None:
        """Refuse files that are others than those a cell was planned with.

        Raises:
            ValueError: one has changed; `inputs` are the digests of then.
        """
        for name, digest in self.digests().items():
            if inputs.get(name, digest) != digest:
                raise ValueError(f"The {name} has changed since the run was planned.")


def sources_for(
    editor: str, backbone: str, hparams: Hparams, *, dataset: str, places: Places | None = None
) -> Sources:
    """Where an editor's resources come from, but for its context templates.

    Args:
        editor: key, label or alias.
        backbone: the backbone's name.
        hparams: of the editor.
        dataset: key of the data set; an artefact trained on it alone is taken before a mixed one.
        places: what the user said.

    Raises:
        OSError: a corpus or an encoder is needed and not there.
        UntrainedEditorError: trained weights are needed and not there.
    """
    from editors.base import TrainableEditor

    places = places or Places()
    cls = registry.editor_class(editor)
    reads = hparams.uses_covariance or hparams.reads_corpus
    return Sources(
        corpus=corpus_for(backbone, places, lines=not hparams.uses_covariance) if reads else None,
        encoder=_encoder(editor, backbone, places),
        artefact=_artefact(editor, backbone, hparams, dataset, places)
        if issubclass(cls, TrainableEditor)
        else None,
        training=_training(dataset, hparams, places),
    )


def untrained_sources(
    editor: str, backbone: str, hparams: Hparams, *, dataset: str, places: Places
) -> Sources:
    """What is read for an editor of a backbone of random weights: no statistics, no artefact.

    Raises:
        OSError: a corpus or an encoder is needed and not there.
    """
    corpus = None
    if hparams.reads_corpus:
        named = places.corpus
        corpus = open_corpus(named) if named else embedded_corpus(places.world_seed)
    return Sources(
        corpus=corpus,
        encoder=_encoder(editor, backbone, places),
        training=_training(dataset, hparams, places),
    )


def _training(dataset: str, hparams: Hparams, places: Places) -> TrainingEdits | None:
    if not hparams.reads_training:
        return None
    return training_edits(dataset, places.data_dir, places.world_seed)


def _encoder(editor: str, backbone: str, places: Places) -> Path | None:
    """The sentence encoder of an editor that has one."""
    if not registry.editor_class(editor).uses_encoder:
        return None
    hub = backbone in HUB_IDS
    return encoder_directory(places.encoder, hub=hub, world_seed=places.world_seed)


def encoder_directory(name: str | None = None, *, hub: bool, world_seed: int = 0) -> Path:
    """Directory of the retriever's pre-trained encoder.

    Args:
        name: `mini-roberta`, `roberta-base`, or a directory; by default the hub's for backbones of
            the hub, else the embedded world's.
        hub: whether the backbone is one of the hub.

    Raises:
        ValueError: a name of no encoder, pickled weights alone, or a wish for remote code.
        OSError: it is not there, or cannot be had.
    """
    name = name or ("roberta-base" if hub else ENCODER)
    if name == ENCODER:
        return require_assets(world_seed, ENCODER)
    if name in HUB_ENCODERS:
        return snapshot(HUB_ENCODERS[name], _ENCODER_FILES, option="--encoder")
    directory = Path(name).expanduser()
    if not directory.is_dir():
        error = unknown_name("encoder", name, (ENCODER, *HUB_ENCODERS))
        raise ValueError(f"{error} Any local directory with a sentence encoder can be given.")
    if not any(path for form in ("*.safetensors", *PICKLED) for path in directory.glob(form)):
        raise FileNotFoundError(f"No sentence encoder at {directory}: no *.safetensors weights.")
    check_weights(directory)
    check_no_code(directory)
    return directory


def corpus_for(backbone: str, places: Places, *, lines: bool = False) -> Corpus:
    """The text that key statistics of a backbone are made from, or `lines` of memory text.

    The one that was named comes first, then one beside the data. Else a backbone of the hub takes
    Wikipedia or WikiText-103, as in the originals, and any other the embedded world's.

    Raises:
        OSError: there is no such corpus.
    """
    hub = backbone in HUB_IDS
    documents = places.documents or (PAPER_DOCUMENTS if hub else DOCUMENTS)
    if places.corpus is not None:
        return open_corpus(places.corpus, documents=documents)
    if places.data_dir is not None and (places.data_dir / BESIDE_DATA).is_file():
        return open_corpus(str(places.data_dir / BESIDE_DATA), documents=documents)
    if hub and lines:
        return open_corpus(WIKITEXT, documents=places.documents or DOCUMENTS)
    if hub:
        return open_corpus(WIKIPEDIA, documents=documents)
    if backbone not in EMBEDDED:
        _warn_of_embedded_text(backbone)
    return embedded_corpus(places.world_seed)


@cache
def _warn_of_embedded_text(backbone: str) -> None:
    warn(
        f"{backbone}: key statistics and memory texts come from the embedded world's corpus, which "
        "no real model was trained on; --corpus names another text."
    )


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

    layers, corpus = hparams.covariance_layers(lm.n_layers), sources.corpus
    matrices: dict[int, Tensor] = {}
    if layers and corpus is not None:
        matrices = covariances(lm, corpus, layers)
    templates = (
        context_templates(lm, hparams.template_lengths)
        if sources.templates is None
        else read_templates(sources.templates)
    )
    return Resources(
        encoder=sources.encoder,
        artefact=sources.artefact,
        covariance=matrices.__getitem__ if matrices else None,
        templates=templates,
        corpus=None if corpus is None else corpus.texts,
        training=None if sources.training is None else sources.training.samples,
        seed=seed,
    )


def _artefact(editor: str, backbone: str, hparams: Hparams, dataset: str, places: Places) -> Path:
    """The first trained weights that are there, and were trained as the user wants them."""
    from editors.parts.artefact import artefact_path

    key = registry.resolve(editor)
    others: list[str] = []
    directories = [Path("artefacts")]
    if backbone in EMBEDDED:
        directories.insert(0, assets_dir(places.world_seed, backbone) / "artefacts")
    if places.artefacts is not None:
        directories.append(places.artefacts)
    variants = _variants_in([variants_dir(places.world_seed), Path("artefacts")])
    for directory in (*directories, *variants):
        for trained_on in ([dataset], []):
            path = artefact_path(directory, key, backbone, trained_on)
            if not path.is_file():
                continue
            of_variant = directory not in directories
            check_trained(path, "Restore it, or remove both files and train it again.")
            changed = _trained_otherwise(path, key, hparams, None if of_variant else places.changed)
            if not changed:
                return path
            if not of_variant:
                others = changed
    named = variant_with(key, others, hparams)
    what = f"--editor {key}" if named is None else f"--variant {named.key}"
    raise UntrainedEditorError(
        f"{registry.describe(key).label} has no trained weights for {backbone}"
        + (f" with {', '.join(others)}" if others else f" in {directories[0]}")
        + f"; `python -m bench train {what} --backbone {backbone}` makes them."
    )


def _variants_in(directories: Sequence[Path]) -> Iterator[Path]:
    """Folders of weights that were trained with other hyper-parameters than the preset's."""
    for directory in directories:
        if directory.is_dir():
            yield from sorted(path for path in directory.iterdir() if path.is_dir())


def _trained_otherwise(
    path: Path, editor: str, hparams: Hparams, changed: frozenset[str] | None
) -> list[str]:
    """`name=value` of what the user changed and these weights were trained without.

    Of a variant's weights (`changed` is None) everything that they were trained with is compared.
    """
    from editors.base import TrainableEditor
    from editors.parts.artefact import read_header

    cls = registry.editor_class(editor)
    wanted = hparams.to_dict()
    in_use = cls.edit_time if issubclass(cls, TrainableEditor) else frozenset(wanted)
    names = (frozenset(wanted) if changed is None else changed) - in_use
    if not names:
        return []
    header = read_header(path).get("hparams", {})
    trained = (
        cls.hparams_class.from_dict(
            {n: wanted[n] for n in in_use if n in wanted} | header
        ).to_dict()
        | header
    )
    return [f"{name}={wanted[name]}" for name in sorted(names) if trained.get(name) != wanted[name]]
