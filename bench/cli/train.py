"""The `train` command: the weights that a trainable editor needs, with a report beside them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.arguments import add_hardware, add_log, assignment, backbone_name, device_of, whole
from bench.core.console import say, warn
from bench.core.events import event_log
from bench.core.grids import RECIPE, Variant, variant
from bench.core.names import DATASETS
from bench.core.progress import SCORES, show_busy
from bench.models.artefacts import Artefact, train_artefact, trainable, training_samples
from bench.models.backbones import EMBEDDED, check_device, load, locate
from bench.models.resources import encoder_directory
from bench.world.store import assets_dir, data_dir, variants_dir
from editors import registry

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from editors.base import EditSample, Hparams, TrainableEditor

PRESETS = ("embedded", "paper")
TRAIN_ON = ("mix", "each")

EXAMPLES = """examples:
  python -m bench train --editor recipe --backbone mini-llama
      one network for all three data sets of the embedded world
  python -m bench train --editor recipe --backbone mini-llama --world-seed 1
      the same for another embedded world, beside that world's models
  python -m bench train --variant cpt=5
      RECIPE with prompts of 5 tokens, beside the preset's weights, for Figure 3
  python -m bench train --editor recipe --preset paper --backbone gpt2-xl --datasets zsre \\
      --data-dir DATA --out artefacts
      the paper's setting: 150,000 iterations of 8, learning rate 1e-5
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `train`."""
    parser = subparsers.add_parser(
        "train",
        help="train an editor's own weights",
        description="Train an editor's own weights on the training split and write an artefact. "
        "An interrupted training continues with the same command.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--editor", metavar="NAME")
    what.add_argument(
        "--variant",
        metavar="NAME",
        help="of RECIPE, in a folder of its own: cpt=N for prompts of N tokens, no-ks for the "
        "ablation without the knowledge sentinel",
    )
    parser.add_argument("--backbone", metavar="NAME|PATH", help="default: mini-llama (embedded)")
    parser.add_argument("--preset", choices=PRESETS, default="embedded")
    parser.add_argument(
        "--datasets", metavar="A,B", default=",".join(DATASETS), help="default: %(default)s"
    )
    parser.add_argument(
        "--train-on",
        choices=TRAIN_ON,
        help="one artefact on all data sets (mix; the embedded default) or one for each (each; "
        "the default of the paper preset)",
    )
    _add_training(parser)
    _add_places(parser)
    parser.set_defaults(func=main)


def _add_training(parser: argparse.ArgumentParser) -> None:
    training = parser.add_argument_group("training")
    training.add_argument(
        "--iterations", type=whole(1), metavar="N", help="instead of the preset's"
    )
    training.add_argument(
        "--hparam",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another hyper-parameter than the preset's; may be repeated",
    )
    training.add_argument("--seed", type=whole(0), default=0, metavar="N")
    training.add_argument(
        "--overwrite", action="store_true", help="train again, from the beginning"
    )


def _add_places(parser: argparse.ArgumentParser) -> None:
    places = parser.add_argument_group("inputs, hardware, output")
    places.add_argument("--world-seed", type=whole(0), default=0, metavar="N")
    places.add_argument("--data-dir", type=Path, metavar="DIR", help="real data files")
    places.add_argument(
        "--encoder",
        metavar="NAME|DIR",
        help="sentence encoder: a name or a local directory (default: the embedded one, "
        "roberta-base in the paper preset)",
    )
    add_hardware(places)
    add_log(places)
    places.add_argument("--out", type=Path, metavar="DIR", help="where the artefact goes")


def main(args: argparse.Namespace) -> int:
    """Train; exit code 0 if every artefact is there."""
    from editors.parts.artefact import artefact_path

    chosen = None if args.variant is None else variant(args.variant)
    key = registry.resolve(args.editor if chosen is None else RECIPE)
    editor = trainable(key)
    hparams = _hparams(key, args, _trained_changes(editor, chosen))
    directory = args.out or _default_out(args, chosen)
    device = device_of(args)
    check_device(device)
    backbone = locate(backbone_name(args), world_seed=args.world_seed, hub=args.preset == "paper")
    samples = _samples(args)
    encoder = _encoder(args) if editor.uses_encoder else None
    with show_busy(f"loading {backbone.name}"):
        lm = load(backbone, dtype=args.dtype, device=device, device_map=args.device_map)
    for names in _groups(args, list(samples)):
        path = artefact_path(directory, key, lm.name, names)
        _remove_earlier(path, overwrite=args.overwrite)
        with event_log(args.log_json) as log:
            artefact = train_artefact(
                key, lm, {name: samples[name] for name in names}, hparams,
                encoder=encoder, path=path, seed=args.seed, log=log,
            )  # fmt: skip
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
        say(f"  {name}, {scores['edits']} held-out training edits {_how(scores)}: {values}")


def _how(scores: Mapping[str, Any]) -> str:
    together = scores.get("together", scores["edits"])
    return "at once" if together == scores["edits"] else f"{together} at a time"


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


def _hparams(key: str, args: argparse.Namespace, changes: Mapping[str, Any]) -> Hparams:
    """The preset's hyper-parameters with the variant's and those named on the command line."""
    presets = registry.editor_class(key).presets
    if args.preset == "paper" and "paper" in presets:
        preset = presets["paper"]
    else:
        preset = registry.hparams_for(key, backbone_name(args))
    named = dict(assignment(text) for text in args.hparam)
    if args.iterations is not None:
        named["iterations"] = args.iterations
    return type(preset).from_dict({**preset.to_dict(), **changes, **named})


def _groups(args: argparse.Namespace, names: list[str]) -> list[list[str]]:
    """Data sets by artefact."""
    each = (args.train_on or ("each" if args.preset == "paper" else "mix")) == "each"
    return [[name] for name in names] if each else [names]


def _samples(args: argparse.Namespace) -> dict[str, tuple[EditSample, ...]]:
    names = [name.strip() for name in args.datasets.split(",") if name.strip()]
    return training_samples(names, args.data_dir or data_dir(args.world_seed))


def _encoder(args: argparse.Namespace) -> Path:
    """Directory of the sentence encoder that training starts from."""
    from editors.parts.encoder import check_files

    hub = args.preset == "paper"
    directory = encoder_directory(args.encoder, hub=hub, world_seed=args.world_seed)
    check_files(directory)  # refused before a large backbone is loaded
    return directory


def _default_out(args: argparse.Namespace, chosen: Variant | None) -> Path:
    """Beside the models of the world, or in the working directory for other backbones.

    Variants have a folder each, those of the embedded world in the cache: they are not shipped.
    """
    embedded = backbone_name(args) in EMBEDDED and args.data_dir is None
    if chosen is not None:
        return (variants_dir(args.world_seed) if embedded else Path("artefacts")) / chosen.key
    home = assets_dir(args.world_seed, backbone_name(args))
    return home / "artefacts" if embedded else Path("artefacts")
