"""What editors read besides a backbone: the commands `stats`, `train` and `import-weights`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.arguments import (
    BACKBONE,
    BUNDLE,
    CORPUS,
    DATA_DIR,
    HARDWARE,
    LOG_JSON,
    PRESET,
    SENTENCE_ENCODER,
    WORLD_SEED,
    Option,
    add,
    add_groups,
    assignments,
    backbone_name,
    backbone_of,
    config_of,
    loaded,
    names,
    one_of,
    whole,
)
from bench.core.config import RunConfig
from bench.core.console import say, warn
from bench.core.events import event_log
from bench.core.grids import RECIPE, Variant, variant
from bench.core.names import DATASETS, editor_keys
from bench.core.progress import (
    SCORES,
    StopFlag,
    StoppedEarly,
    counted,
    show_documents,
    stopped_by_signals,
)
from bench.models.backbones import EMBEDDED, like
from bench.models.key_statistics import compute_covariances, read_facts
from bench.models.resources import check_real_data, corpus_for, encoder_of
from bench.models.training import Artefact, train_artefact, trainable, training_samples
from bench.models.weights.convert import conversion_of, convert
from bench.world.store import assets_dir, data_dir, variants_dir
from editors import registry

if TYPE_CHECKING:
    from editors.base import Hparams, TrainableEditor
    from editors.parts.language_model import LanguageModel

# fmt: off
INPUTS = (
    BACKBONE,
    PRESET,
    Option("--datasets", "A,B", f"default: {','.join(DATASETS)}", names, DATASETS),
    Option("--train-on", "mix|each", "one artefact on all data sets (mix; the embedded default) or "
           "one for each (each; the default of the paper preset)",
           one_of("way to train", ("mix", "each"))),
)
TRAINING = (
    Option("--iterations", "N", "instead of the preset's", whole(1)),
    Option("--hparam", "NAME=VALUE", "another hyper-parameter than the preset's; may be repeated",
           repeated=True, dest="changes"),
    BUNDLE,
    Option("--seed", "N", "of the training (default: 0)", whole(0), 0),
    Option("--overwrite", "", "train again, from the beginning"),
)
PLACES = (
    WORLD_SEED, DATA_DIR, SENTENCE_ENCODER, *HARDWARE, LOG_JSON,
    Option("--out", "DIR", "where the artefact goes", Path),
)
# fmt: on


def add_stats(parser: argparse.ArgumentParser) -> None:
    """The arguments of `stats`."""
    text = "block numbers (default: those of the editors' presets)"
    statistics = (PRESET, BACKBONE, Option("--layers", "N,M|all", text))
    inputs = (*CORPUS, DATA_DIR, WORLD_SEED, *HARDWARE, LOG_JSON)
    add_groups(parser, {"statistics": statistics, "text and hardware": inputs})
    parser.set_defaults(func=stats)


def stats(args: argparse.Namespace) -> int:
    """Exit code 0 if the statistics of every layer are there."""
    config = config_of(args)
    backbone = backbone_of(config)
    corpus = corpus_for(backbone.like, config)
    lm = loaded(backbone, config)
    layers = _layers(args.layers, lm, backbone.like)
    with (
        event_log(args.log_json) as log,
        show_documents(corpus.documents, log) as progress,
    ):
        paths = compute_covariances(lm, corpus, layers, progress)
    for layer, path in paths.items():
        facts = read_facts(path)
        say(
            f"layer {layer}: {int(facts['documents']):,} documents, "
            f"{int(facts['tokens']):,} tokens: {path}"
        )
    return 0


def _layers(text: str | None, lm: LanguageModel, like: str) -> tuple[int, ...]:
    """The named block numbers, else those of all editors' presets.

    Raises:
        ValueError: no number, or no block of this model.
    """
    if text == "all":
        return tuple(range(lm.n_layers))
    if text is None:
        presets = [registry.hparams_for(key, like) for key in editor_keys()]
        layers = {layer for preset in presets for layer in preset.covariance_layers(lm.n_layers)}
        if not layers:
            raise ValueError("No editor's preset needs a key covariance; name --layers.")
        return tuple(sorted(layers))
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) < lm.n_layers for part in parts):
        raise ValueError(
            f"--layers takes block numbers from 0 to {lm.n_layers - 1} or 'all', got {text!r}."
        )
    return tuple(sorted({int(part) for part in parts}))


def add_train(parser: argparse.ArgumentParser) -> None:
    """The arguments of `train`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--editor", metavar="NAME")
    what.add_argument(
        "--variant",
        metavar="NAME",
        help="of RECIPE, in a folder of its own: cpt=N for prompts of N tokens, no-ks for the "
        "ablation without the knowledge sentinel",
    )
    add(parser, *INPUTS)
    add_groups(parser, {"training": TRAINING, "inputs, hardware, output": PLACES})
    parser.set_defaults(func=train)


def train(args: argparse.Namespace) -> int:
    """Train; exit code 0 if every artefact is there."""
    from editors.parts.artefact import artefact_path

    config, chosen = config_of(args), None if args.variant is None else variant(args.variant)
    key = registry.resolve(args.editor if chosen is None else RECIPE)
    editor = trainable(key)
    changes = {**_trained_changes(editor, chosen), **assignments(args.changes)}
    if args.iterations is not None:
        changes["iterations"] = args.iterations
    preset = _preset(key, config)
    if args.iterations is not None and "epochs" in vars(preset):
        changes["epochs"] = None
    hparams = type(preset).from_dict({**preset.to_dict(), **changes})
    directory = config.out or _default_out(config, chosen, args.seed)
    backbone = backbone_of(config)
    check_real_data(backbone.name, backbone.like, config)
    world_data = config.data_dir or data_dir(config.world_seed)
    samples = training_samples(config.datasets or DATASETS, world_data, backbone)
    encoder = _encoder(key, backbone.like, config) if editor.uses_encoder else None
    lm = loaded(backbone, config)
    each = (args.train_on or ("each" if config.preset == "paper" else "mix")) == "each"
    stop = StopFlag()
    with stopped_by_signals(stop) as caught:
        for keys in [[name] for name in samples] if each else [list(samples)]:
            path = artefact_path(directory, key, lm.name, keys)
            _remove_earlier(path, overwrite=config.overwrite)
            try:
                with event_log(args.log_json) as log:
                    artefact = train_artefact(
                        key, lm, {name: samples[name] for name in keys}, hparams,
                        encoder=encoder, path=path, seed=args.seed, log=log, stop=stop,
                    )  # fmt: skip
            except StoppedEarly:
                warn(f"stopped: {path.name} is trained as far as that; the same command continues.")
                return caught.exit_code
            _say_result(artefact)
    return 0


def _remove_earlier(path: Path, *, overwrite: bool) -> None:
    """Remove an earlier training with `--overwrite`."""
    from editors.parts.artefact import checkpoint_path

    if overwrite:
        for old in (path, checkpoint_path(path)):
            old.unlink(missing_ok=True)
    elif path.exists():
        warn(f"{path} is there already; --overwrite trains it again.")


def _say_result(artefact: Artefact) -> None:
    step = artefact.header["selected_iteration"]
    say(f"{artefact.path}: iteration {step:,}, {artefact.seconds / 60:.1f} minutes")
    for name, scores in artefact.header["validation"].items():
        values = ", ".join(f"{key} {100 * scores[key]:.1f}" for key in SCORES)
        together, edits = scores.get("together", scores["edits"]), scores["edits"]
        how = "at once" if together == edits else f"{together} at a time"
        say(f"  {name}, {edits} held-out training edits {how}: {values}")


def _trained_changes(
    editor: type[TrainableEditor[Any]], chosen: Variant | None
) -> Mapping[str, Any]:
    """The hyper-parameters of training that a variant changes.

    Raises:
        ValueError: it changes none that weights depend on.
    """
    if chosen is None:
        return {}
    if editor.edit_time.issuperset(chosen.hparams):
        raise ValueError(
            f"The variant {chosen.key!r} has no weights of its own: "
            f"it uses those of {editor.label}."
        )
    return chosen.hparams


def _preset(key: str, config: RunConfig) -> Hparams:
    presets = registry.editor_class(key).presets
    if config.preset == "paper" and "paper" in presets:
        return presets["paper"]
    return registry.hparams_for(key, like(backbone_name(config)), config.bundle)


def _encoder(editor: str, backbone: str, config: RunConfig) -> Path:
    """Directory of the sentence encoder that training starts from."""
    from editors.parts.encoder import check_files

    directory = encoder_of(editor, backbone, config)
    check_files(directory)  # refused before a large backbone is loaded
    return directory


def _default_out(config: RunConfig, chosen: Variant | None, seed: int) -> Path:
    """Beside the models of the world, or in the working directory for other backbones.

    Variants and other seeds than 0 have a folder each, those of the embedded world in the cache:
    they are not shipped.
    """
    backbone = backbone_name(config)
    embedded = backbone in EMBEDDED and config.data_dir is None
    folder = "-".join([*([chosen.key] if chosen else []), *([f"seed-{seed}"] if seed else [])])
    if folder:
        return (variants_dir(config.world_seed) if embedded else Path("artefacts")) / folder
    return assets_dir(config.world_seed, backbone) / "artefacts" if embedded else Path("artefacts")


def add_import_weights(parser: argparse.ArgumentParser) -> None:
    """The arguments of `import-weights`."""
    parser.add_argument("source", type=Path, metavar="FILE|DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: beside the old files")
    parser.set_defaults(func=import_weights)


def import_weights(args: argparse.Namespace) -> int:
    """Exit code 0 if all files are converted."""
    conversion = conversion_of(args.source, args.out)
    for path in counted(convert(conversion), "files", len(conversion.files)):
        say(f"written: {path}")
    return 0
