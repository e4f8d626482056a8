"""The `train` command: the weights that a trainable editor needs, with a report beside them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.artefacts import Made, make_artefact, trainable, training_samples
from bench.backbones import EMBEDDED, HUB_IDS, check_device, load, locate
from bench.commands.arguments import add_hardware, assignment, device_of, whole
from bench.console import say, warn
from bench.grids import DATASETS
from bench.resources import encoder_directory
from bench.training_progress import SCORES
from bench.world.store import assets_dir, data_dir
from editors import registry

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from editors.base import EditSample, Hparams, TrainableEditor
    from editors.parts.language_model import LanguageModel

    Samples = Mapping[str, tuple[EditSample, ...]]

PRESETS = ("embedded", "paper")
TRAIN_ON = ("mix", "each")

EXAMPLES = """examples:
  python -m bench train --editor recipe --backbone mini-llama
      one network for all three data sets of the embedded world
  python -m bench train --editor recipe --backbone mini-llama --world-seed 1
      the same for another made world, beside that world's models
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
    parser.add_argument("--editor", required=True, metavar="NAME")
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
    places = parser.add_argument_group("from where, on what, to where")
    places.add_argument("--world-seed", type=whole(0), default=0, metavar="N")
    places.add_argument("--data-dir", type=Path, metavar="DIR", help="real data files")
    places.add_argument(
        "--encoder",
        metavar="NAME|DIR",
        help="sentence encoder: a name or a local directory (default: the embedded one, "
        "roberta-base in the paper preset)",
    )
    add_hardware(places)
    places.add_argument("--out", type=Path, metavar="DIR", help="where the artefact goes")


def main(args: argparse.Namespace) -> int:
    """Run the command; 0 when every artefact is there."""
    editor = trainable(args.editor)
    hparams = _hparams(editor, args)
    device = device_of(args)
    check_device(device)
    backbone = locate(_backbone(args), world_seed=args.world_seed, hub=args.preset == "paper")
    samples = _samples(args)
    encoder = _encoder(args) if editor.uses_encoder else None
    lm = load(backbone, dtype=args.dtype, device=device, device_map=args.device_map)
    for names in _groups(args, list(samples)):
        _train(args, lm, hparams, encoder, {name: samples[name] for name in names})
    return 0


def _train(
    args: argparse.Namespace,
    lm: LanguageModel,
    hparams: Hparams,
    encoder: Path | None,
    samples: Samples,
) -> None:
    """Make one artefact and its report."""
    from editors.parts.artefact import artefact_path, checkpoint_path

    key = registry.resolve(args.editor)
    path = artefact_path(args.out or _default_out(args), key, lm.name, list(samples))
    if args.overwrite:
        for old in (path, checkpoint_path(path)):
            old.unlink(missing_ok=True)
    elif path.exists():
        warn(f"{path} is there already; --overwrite trains it again.")
    made = make_artefact(key, lm, samples, hparams, encoder=encoder, path=path, seed=args.seed)
    _say_result(made)


def _say_result(made: Made) -> None:
    step = made.header["selected_iteration"]
    say(f"{made.path}: iteration {step:,}, {made.seconds / 60:.1f} minutes")
    for name, scores in made.header["validation"].items():
        values = ", ".join(f"{key} {100 * scores[key]:.1f}" for key in SCORES)
        say(f"  {name}, {scores['edits']} held-out training edits {_how(scores)}: {values}")


def _how(scores: Mapping[str, Any]) -> str:
    together = scores.get("together", scores["edits"])
    return "at once" if together == scores["edits"] else f"{together} at a time"


def _hparams(editor: type[TrainableEditor[Any]], args: argparse.Namespace) -> Hparams:
    """The preset's hyper-parameters with those named on the command line."""
    key = registry.resolve(args.editor)
    if args.preset == "paper" and "paper" in editor.presets:
        preset = editor.presets["paper"]
    else:
        preset = registry.hparams_for(key, _backbone(args))
    changes = dict(assignment(text) for text in args.hparam)
    if args.iterations is not None:
        changes["iterations"] = args.iterations
    return editor.hparams_class.from_dict(preset.to_dict() | changes)


def _groups(args: argparse.Namespace, names: list[str]) -> list[list[str]]:
    """Data sets by artefact."""
    each = (args.train_on or ("each" if args.preset == "paper" else "mix")) == "each"
    return [[name] for name in names] if each else [names]


def _samples(args: argparse.Namespace) -> dict[str, tuple[EditSample, ...]]:
    names = [name.strip() for name in args.datasets.split(",") if name.strip()]
    return training_samples(names, args.data_dir or data_dir(args.world_seed))


def _backbone(args: argparse.Namespace) -> str:
    if args.backbone is None and args.preset == "paper":
        raise ValueError(
            f"--preset paper needs --backbone, one of {', '.join(HUB_IDS)}, or a path."
        )
    return str(args.backbone or EMBEDDED[0])


def _encoder(args: argparse.Namespace) -> Path:
    """Directory of the sentence encoder that training starts from."""
    from editors.parts.text_vectors import check_files

    hub = args.preset == "paper"
    directory = encoder_directory(args.encoder, hub=hub, world_seed=args.world_seed)
    check_files(directory)  # refused here, not after a large backbone was loaded
    return directory


def _default_out(args: argparse.Namespace) -> Path:
    """Beside the models of the world, or in the working directory for other backbones."""
    if _backbone(args) in EMBEDDED and args.data_dir is None:
        return assets_dir(args.world_seed) / "artefacts"
    return Path("artefacts")
