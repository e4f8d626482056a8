"""What editors need beside a model: covariances, context templates, an encoder, weights, edits.

All of it describes the pristine model, so it is loaded or computed before the first edit. Weights
of editors are looked up here; `training` trains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.config import RunConfig
from bench.core.files import (
    cached_digest,
    check_trained,
    digest_of_files,
)
from bench.core.grids import variant_with
from bench.core.names import ENCODER, unknown_name
from bench.datasets import get_dataset
from bench.datasets.base import locate
from bench.models import catalogue
from bench.models.backbones import (
    EMBEDDED,
    HUB_IDS,
    snapshot,
)
from bench.models.inspection import (
    PICKLED,
    check_headers,
    check_no_code,
    check_plain,
    check_weights,
    json_object,
)
from bench.models.key_statistics import (
    BESIDE_DATA,
    DOCUMENTS,
    PAPER_DOCUMENTS,
    WIKIPEDIA,
    WIKITEXT,
    Corpus,
    context_templates,
    covariances,
    embedded_corpus,
    open_corpus,
    read_templates,
)
from bench.models.training_text import training_corpus
from bench.world.store import (
    assets_dir,
    data_dir,
    require_assets,
    variants_dir,
)
from editors import registry

if TYPE_CHECKING:
    from editors.base import EditSample, Hparams, Resources
    from editors.parts.language_model import LanguageModel

HUB_ENCODERS = {
    "roberta-base": "FacebookAI/roberta-base",  # the paper's sentence encoder
    "multi-qa-mpnet-base-dot-v1": "sentence-transformers/multi-qa-mpnet-base-dot-v1",  # LTE's own
}
ENCODERS = (ENCODER, *catalogue.names("encoder"), *HUB_ENCODERS)  # by name
# Files of a sentence encoder; those of its modules, such as 1_Pooling, are in folders of their own.
_ENCODER_FILES = ("*.json", "*.txt", "*.safetensors", "*.model")
_MODULE_FILES = ("*/*.json", "*/*.safetensors")


class UntrainedEditorError(FileNotFoundError):
    """An editor's own weights have not been trained for this backbone."""


@dataclass(frozen=True, kw_only=True)
class TrainingEdits:
    """The training split of a data set, unread."""

    dataset: str  # key
    path: Path

    def samples(self) -> tuple[EditSample, ...]:
        """All of its edits in file order; the file is read once in a process."""
        return _samples(self.dataset, self.path)


@cache
def _samples(dataset: str, path: Path) -> tuple[EditSample, ...]:
    return get_dataset(dataset).load_file("train", path).samples


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Files that an editor's resources are read or computed from; None where it needs none."""

    corpus: Corpus | None = None
    templates: Path | None = None
    encoder: Path | None = None
    artefact: Path | None = None
    training: TrainingEdits | None = None

    def digests(self) -> dict[str, str]:
        """The digest of each source, for a cell's identity."""
        digests = {} if self.corpus is None else {"corpus": self.corpus.identity}
        training = None if self.training is None else self.training.path
        files = {"templates": self.templates, "artefact": self.artefact, "training": training}
        digests |= {name: _digest(path) for name, path in files.items() if path is not None}
        if self.encoder is not None:
            digests["encoder"] = digest_of_encoder(self.encoder)
        return digests

    def check(self, inputs: Mapping[str, str]) -> None:
        """Refuse sources with other digests than in `inputs`, those of when a cell was planned."""
        for name, digest in self.digests().items():
            if inputs.get(name, digest) != digest:
                raise ValueError(f"The {name} has changed since the run was planned.")


def _digest(path: Path) -> str:
    """Of a file, or of the JSON files of a folder."""
    return cached_digest(path) if path.is_file() else digest_of_files(sorted(path.glob("*.json")))


def sources_for(
    editor: str,
    backbone: str,
    hparams: Hparams,
    *,
    dataset: str,
    like: str | None = None,
    config: RunConfig | None = None,
    artefacts: Path | None = None,
    changed: frozenset[str] = frozenset(),
    seed: int | None = None,
) -> Sources:
    """The sources of an editor's resources, except its context templates.

    A backbone of random weights has no statistics and no artefact.

    Args:
        dataset: key of the data set; an artefact trained on it alone precedes a mixed one.
        like: the known backbone that it is like, as in `Backbone`; by default itself.
        config: names corpus, encoder and data; by default those of the backbone.
        artefacts: a folder of trained weights, searched after the shipped ones.
        changed: hyper-parameters that are not the preset's.
        seed: of the training; None takes the weights that are there.

    Raises:
        OSError: a corpus or an encoder is needed and missing.
        UntrainedEditorError: trained weights are needed and missing.
    """
    from editors.base import TrainableEditor

    config, like = config or RunConfig(), like or backbone
    cls, random = registry.editor_class(editor), config.weights == "random"
    corpus = artefact = encoder = None
    if random and hparams.reads_corpus:
        named = config.corpus
        corpus = open_corpus(named) if named else embedded_corpus(config.world_seed)
    elif not random and (hparams.uses_covariance or hparams.reads_corpus):
        corpus = corpus_for(like, config, lines=not hparams.uses_covariance)
    if cls.uses_encoder:
        encoder = encoder_of(editor, like, config)
    if not random and issubclass(cls, TrainableEditor):
        folders = _weight_folders(like, config.world_seed, artefacts, changed)
        artefact = _artefact(editor, backbone, hparams, dataset, folders, seed)
    training = _training(dataset, config) if hparams.reads_training else None
    return Sources(corpus=corpus, encoder=encoder, artefact=artefact, training=training)


def resources_for(
    lm: LanguageModel, hparams: Hparams, sources: Sources, *, seed: int = 0
) -> Resources:
    """The resources of one editor on a *pristine* model; `seed` is of the editor's own draws."""
    from editors.base import Resources

    layers, corpus = hparams.covariance_layers(lm.n_layers), sources.corpus
    matrices = covariances(lm, corpus, layers) if layers and corpus is not None else {}
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


# ---- training edits, encoder, corpus -----------------------------------------------------------


def _training(dataset: str, config: RunConfig) -> TrainingEdits:
    """The training split, beside the test split or in the embedded world's data."""
    edits = get_dataset(dataset)
    given = config.data_dir or edits.home or data_dir(config.world_seed)
    place = edits.directory("train", given)
    path = locate(edits.files["train"], place)
    return TrainingEdits(dataset=edits.key, path=path)


def encoder_of(editor: str, backbone: str, config: RunConfig) -> Path:
    """Directory of the sentence encoder of an editor; see `encoder_directory`."""
    name = encoder_named(editor, backbone, config)
    return encoder_directory(name, world_seed=config.world_seed)


def encoder_named(editor: str, backbone: str, config: RunConfig) -> str:
    """The encoder that is named for an editor, else the one that belongs to it or the backbone.

    As the paper has it an editor may have its own.
    """
    named = config.encoder_for(editor)
    if named is None and config.bundle == "paper" and backbone in HUB_IDS:
        named = registry.editor_class(editor).paper_encoder
    return named or usual_encoder(backbone)


def usual_encoder(backbone: str) -> str:
    """The encoder that belongs to the known backbone that a model is like.

    The catalogue names one, backbones of the hub have roberta-base, others the embedded world's.
    """
    listed = catalogue.named(backbone, "backbone")
    own = listed.entry.encoder if listed is not None else None
    return own or ("roberta-base" if backbone in HUB_IDS else ENCODER)


def encoder_directory(name: str, *, world_seed: int = 0) -> Path:
    """Directory of a pre-trained sentence encoder; pickled weights and code are refused.

    The `name` is one of `ENCODERS`, or a directory.
    """
    from editors.parts.encoder import check_encoder

    if name == ENCODER:
        return require_assets(world_seed, ENCODER)
    if name in HUB_ENCODERS:
        return snapshot(HUB_ENCODERS[name], _ENCODER_FILES, option="--encoder")
    listed = catalogue.named(name, "encoder")
    directory = Path(name).expanduser() if listed is None else catalogue.fetched(listed)
    if not directory.is_dir():
        if (command := catalogue.command_for(name)) is not None:
            raise FileNotFoundError(f"No sentence encoder at {name}: {command}")
        error = unknown_name("encoder", name, ENCODERS)
        raise ValueError(f"{error} Any local directory with a sentence encoder can be given.")
    if not any(path for form in ("*.safetensors", *PICKLED) for path in directory.glob(form)):
        raise FileNotFoundError(f"No sentence encoder at {directory}: no *.safetensors weights.")
    check_weights(directory)
    check_no_code(directory)
    check_encoder(directory)
    check_plain(directory, json_object(directory / "config.json"))
    check_headers(directory)
    return directory


def digest_of_encoder(directory: Path) -> str:
    """sha256 over all files that may be read of a sentence encoder."""
    forms = (*_ENCODER_FILES, *_MODULE_FILES)
    return digest_of_files([path for form in forms for path in sorted(directory.glob(form))])


def corpus_for(backbone: str, config: RunConfig, *, lines: bool = False) -> Corpus:
    """The text on which key statistics of a backbone are computed, or memory texts (`lines`).

    `backbone` is the known one that a model is like. See `corpus_named`.
    """
    place = corpus_named(backbone, config, lines=lines)
    if place is None and backbone in EMBEDDED:
        return embedded_corpus(config.world_seed)
    if place is None:
        check_real_data(Path(config.backbone or backbone).name, backbone, config)
        return training_corpus(config.data_dir, config.documents)
    long = backbone in HUB_IDS and not (lines and place == WIKITEXT)
    return open_corpus(
        place, documents=config.documents or (PAPER_DOCUMENTS if long else DOCUMENTS)
    )


def corpus_named(backbone: str, config: RunConfig, *, lines: bool = False) -> str | None:
    """The path or name of a backbone's text; None for the one that belongs to its data.

    A named corpus comes first, then one beside the data. Otherwise a backbone of the hub takes
    Wikipedia or WikiText-103, as in the originals, an embedded one the embedded world's text, and
    any other the statements of the training splits.
    """
    if config.corpus is not None:
        return config.corpus
    if config.data_dir is not None and (config.data_dir / BESIDE_DATA).is_file():
        return str(config.data_dir / BESIDE_DATA)
    if backbone in HUB_IDS:
        return WIKITEXT if lines else WIKIPEDIA
    return None


def check_real_data(name: str, like: str, config: RunConfig) -> None:
    """Refuse the embedded world's invented facts for a model that knows nothing of them.

    Raises:
        ValueError: there is no `--data-dir`, and the model is `like` none of the embedded ones.
    """
    if config.data_dir is None and config.weights == "trained" and like not in EMBEDDED:
        raise ValueError(
            f"{name} is no model of the embedded world, whose facts are invented: give the "
            "directory of real data with --data-dir (`python -m bench data fetch` gets them)."
        )


# ---- trained weights ---------------------------------------------------------------------------


def _weight_folders(
    backbone: str, world_seed: int, artefacts: Path | None, changed: frozenset[str]
) -> dict[Path, frozenset[str] | None]:
    """Folders of trained weights in the order of search, and the hyper-parameters to compare.

    Variants have a folder each, of which all hyper-parameters of training are compared (None).
    """
    own = Path("artefacts")
    folders: dict[Path, frozenset[str] | None] = {}
    if backbone in EMBEDDED:
        folders[assets_dir(world_seed, backbone) / "artefacts"] = changed
    folders[own] = changed
    if artefacts is not None:
        folders[artefacts] = frozenset()  # its name is a digest of all hyper-parameters
    for parent in (variants_dir(world_seed), own):
        for path in sorted(parent.iterdir()) if parent.is_dir() else ():
            if path.is_dir():
                folders.setdefault(path, None)
    return folders


def _artefact(
    editor: str,
    backbone: str,
    hparams: Hparams,
    dataset: str,
    folders: Mapping[Path, frozenset[str] | None],
    seed: int | None = None,
) -> Path:
    """The first trained weights whose training had the user's hyper-parameters, and the seed."""
    from editors.parts.artefact import artefact_path

    key = registry.resolve(editor)
    differing: list[str] = []
    for folder, compared in folders.items():
        for trained_on in ([dataset], []):
            path = artefact_path(folder, key, backbone, trained_on)
            if not path.is_file():
                continue
            check_trained(path, "Restore it, or remove both files and train it again.")
            others = _trained_otherwise(path, key, hparams, compared)
            others += _other_seed(path, seed, variant=compared is None)
            if not others:
                return path
            differing = differing if compared is None else others
    named = variant_with(key, differing, hparams)
    what = f"--editor {key}" if named is None else f"--variant {named.key}"
    trained = "" if not seed else f" --seed {seed}"
    raise UntrainedEditorError(
        f"{registry.describe(key).label} has no trained weights for {backbone}"
        + (f" with {', '.join(differing)}" if differing else f" in {next(iter(folders))}")
        + f"; `python -m bench train {what} --backbone {backbone}{trained}` trains them."
    )


def _other_seed(path: Path, wanted: int | None, *, variant: bool) -> list[str]:
    """`training seed N` if the weights had another than is wanted; of folders of variants 0 is."""
    from editors.parts.artefact import read_header

    if wanted is None and not variant:
        return []
    seed = wanted or 0
    return [] if read_header(path).get("seed", 0) == seed else [f"training seed {seed}"]


def _trained_otherwise(
    path: Path, editor: str, hparams: Hparams, changed: frozenset[str] | None
) -> list[str]:
    """`name=value` of each changed hyper-parameter that these weights were not trained with.

    Of a variant's weights (`changed` is None) all hyper-parameters of training are compared.
    """
    from editors.base import TrainableEditor
    from editors.parts.artefact import read_header

    cls = registry.editor_class(editor)
    wanted = vars(hparams) | hparams.to_dict()
    in_use = cls.edit_time if issubclass(cls, TrainableEditor) else frozenset(wanted)
    names = (frozenset(wanted) if changed is None else changed) - in_use
    if not names:
        return []
    header = read_header(path).get("hparams", {})
    values = {name: wanted[name] for name in in_use if name in wanted} | header
    trained = cls.hparams_class.from_dict(values)
    trained = vars(trained) | trained.to_dict() | header
    return [f"{name}={wanted[name]}" for name in sorted(names) if trained.get(name) != wanted[name]]
