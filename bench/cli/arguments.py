"""Options that several commands share, and their translation into a `RunConfig`.

A reader (a `type=` of argparse) only turns words into values; `RunConfig` and the plan refuse what
no run can have. Options that go into a `RunConfig` are stored under the names of its fields.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.config import (
    CHECKPOINT_SECONDS,
    DTYPES,
    GENERATION_PROMPTS,
    METRICS,
    RunConfig,
    RunOptions,
)
from bench.core.grids import TABLES
from bench.core.names import DATASETS, ENCODER, recent_labels, unknown_name
from bench.core.progress import show_busy
from bench.evaluation.metric_sets import available
from bench.models.backbones import EMBEDDED, HUB_IDS, Backbone, check_device, load, locate
from bench.models.corpora import DOCUMENTS, HUB_TEXTS, PAPER_DOCUMENTS
from bench.models.resources import HUB_ENCODERS

if TYPE_CHECKING:
    from editors.parts.language_model import LanguageModel

Group = argparse._ActionsContainer  # noqa: SLF001 - a parser, or a group of it


def whole(least: int | None = None) -> Callable[[str], int]:
    """A reader of a whole number, of at least `least`."""
    bound = "" if least is None else f" of at least {least}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or (least is not None and value < least):
            raise argparse.ArgumentTypeError(f"expected a whole number{bound}, got {text!r}.")
        return value

    return read


def wholes(text: str) -> tuple[int, ...]:
    """A reader of whole numbers separated by commas."""
    return tuple(map(whole(), names(text)))


def number(text: str) -> float:
    """A reader of a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}.") from None


def names(text: str) -> tuple[str, ...]:
    """A reader of names separated by commas, each once."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise argparse.ArgumentTypeError("expected names separated by commas, got none.")
    return found


def one_of(kind: str, choices: Iterable[str]) -> Callable[[str], str]:
    """A reader of one of a few names."""
    allowed = tuple(choices)

    def read(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(str(unknown_name(kind, text, allowed)))
        return text

    return read


def assignment(text: str, option: str = "--hparam", form: str = "NAME=VALUE") -> tuple[str, Any]:
    """(name, value) of an option; a value that is no JSON is taken as a string.

    Raises:
        ValueError: text of another form.
    """
    name, separator, value = text.partition("=")
    if not separator or not name.strip("-"):
        raise ValueError(f"{option} takes {form}, got {text!r}.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


class _Brief(argparse.RawDescriptionHelpFormatter):
    """Shows the common options alone, with their defaults."""

    def __init__(self, prog: str, *, common: Collection[str] | None = None, **more: Any) -> None:
        super().__init__(prog, **more)
        self._common = common

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        shown = list(filter(self._is_shown, actions))
        super().add_usage(usage, shown, groups if self._common is None else (), prefix)

    def add_argument(self, action: argparse.Action) -> None:
        if self._is_shown(action):
            super().add_argument(action)

    def _is_shown(self, action: argparse.Action) -> bool:
        return self._common is None or action.dest in self._common

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        if not text or "default" in text or action.dest in ("help", "help_all"):
            return text
        return f"{text} (default: {'off' if action.nargs == 0 else 'none'})"


class _Help(argparse.Action):
    """Prints the help, of the `common` options or of all, and ends the process."""

    def __init__(self, *, common: Collection[str] | None = None, **more: Any) -> None:
        super().__init__(nargs=0, **more)
        self._common = common

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.formatter_class = partial(_Brief, common=self._common)
        parser.print_help()
        parser.exit()


def add_command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    *,
    summary: str,
    description: str,
    examples: str,
    common: Sequence[str],
) -> argparse.ArgumentParser:
    """A command whose `--help` shows the common options, and `--help-all` all of them.

    Args:
        subparsers: of the command line.
        name: of the command.
        summary: one line, for the list of commands.
        description: above the options.
        examples: below them.
        common: names of the options, as they are stored.
    """
    parser = subparsers.add_parser(
        name, help=summary, description=description, epilog=examples, add_help=False
    )
    parser.add_argument(
        "-h", "--help", action=_Help, dest="help", common=("help", "help_all", *common),
        default=argparse.SUPPRESS, help="show the common options",
    )  # fmt: skip
    parser.add_argument(
        "--help-all", action=_Help, default=argparse.SUPPRESS, help="show all options"
    )
    return parser


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The options that say which cells of which table, on what."""
    cells = parser.add_argument_group("which cells")
    cells.add_argument(
        "--table",
        type=whole(),
        default=RunConfig.table,
        metavar="N",
        help=f"one of {listed(TABLES)} (default: %(default)s)",
    )
    add_preset(cells)
    add_backbone(cells, default="the table's")
    cells.add_argument("--editors", type=names, metavar="A,B", help="default: the paper's eleven")
    add_recent(cells)
    cells.add_argument(
        "--datasets",
        type=names,
        metavar="A,B",
        help=f"default: {listed(DATASETS)}; zsre for Table 2",
    )
    cells.add_argument(
        "--edits",
        type=wholes,
        metavar="N,M",
        help="numbers of sequential edits (default: the table's)",
    )
    seeds = cells.add_mutually_exclusive_group()
    seeds.add_argument("--seeds", type=wholes, metavar="S,T", help="default: 0")
    seeds.add_argument(
        "--n-seeds", type=whole(1), metavar="N", help="seeds 0 to N-1 (default: seed 0 alone)"
    )
    cells.add_argument(
        "--limit",
        type=whole(),
        metavar="N",
        help="samples drawn per cell (default: 20/50/100/1000/10000 at 1/10/100/1000/10000 edits "
        "in the embedded preset, all in the paper preset)",
    )
    cells.add_argument(
        "--metrics",
        default=RunConfig.metrics,
        metavar="NAME",
        help=f"one of {listed(METRICS)}; the latter skips generation (default: %(default)s)",
    )
    _add_measures(cells)
    _add_ability(cells)
    cells.add_argument(
        "--hparam",
        action="append",
        default=[],
        metavar="EDITOR.NAME=VALUE",
        help="another hyper-parameter or mode than the editor's preset has, or another of its "
        "presets: EDITOR=PRESET; may be repeated",
    )
    cells.add_argument(
        "--index",
        type=one_of("index", ("exact", "faiss")),
        help="how RECIPE searches 10,000 edits or more: exact, or approximately with faiss, which "
        "is an extra; the same as --hparam recipe.index=faiss (default: exact)",
    )
    cells.add_argument(
        "--generation-prompt",
        default=RunConfig.generation_prompt,
        metavar="NAME",
        help=f"one of {listed(GENERATION_PROMPTS)}: the bare prompt, or an instruction in front "
        "(default: %(default)s)",
    )
    cells.add_argument(
        "--weights",
        type=one_of("weights", ("random",)),
        metavar="random",
        help="of Table 3: random times an architecture by its config.json, with random weights of "
        "backbone and editors (default: the trained ones)",
    )
    _add_places(parser)


def _add_measures(cells: Group) -> None:
    """Optional metric sets. Without a default: other tables than of editing refuse them."""
    cells.add_argument(
        "--measure",
        type=lambda text: tuple(sorted(names(text))),
        metavar="A,B",
        help=f"of Tables 1, 5 and 6: further metric sets, of {listed(available())}; such cells "
        "have records of their own, and each set a table of its own",
    )
    cells.add_argument(
        "--measure-text",
        metavar="PATH|NAME",
        help="the fixed text of the set collapse, as --corpus names one (default: the embedded "
        "world's; real data have none)",
    )


def _add_ability(cells: Group) -> None:
    """How Table 2 asks its questions. Without a default: other tables refuse them."""
    harness = cells.add_mutually_exclusive_group()
    harness.add_argument(
        "--scoring",
        metavar="NAME",
        help="of Table 2: paper (options by their first token, as the released code) or lm-eval "
        "(through lm-eval, by log-likelihood) (default: paper)",
    )
    harness.add_argument(
        "--harness",
        metavar="promptbench",
        help="of Table 2: promptbench decodes answers to each of its prompts, and reports their "
        "mean and spread; it is installed apart",
    )
    cells.add_argument(
        "--task-limit",
        type=whole(),
        metavar="N",
        help="of Table 2: questions of each set, drawn at random (default: all; 50 with "
        "promptbench)",
    )
    cells.add_argument(
        "--ability-dir",
        type=Path,
        metavar="DIR",
        help="of Table 2: files of the question sets (default: in --data-dir, else generated "
        "ones, or the hub's in the paper preset)",
    )


def _add_places(parser: argparse.ArgumentParser) -> None:
    places = parser.add_argument_group("from where, on what, to where")
    places.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="real data files (default: those of the embedded world)",
    )
    places.add_argument(
        "--world-seed",
        type=whole(),
        default=RunConfig.world_seed,
        metavar="N",
        help="which embedded world (default: %(default)s)",
    )
    add_corpus(places)
    places.add_argument(
        "--encoder",
        metavar="NAME|DIR",
        help=f"sentence encoder of retrieval editors: one of {listed((ENCODER, *HUB_ENCODERS))}, "
        "or a local directory (default: the embedded one, roberta-base for the paper's backbones)",
    )
    add_hardware(places)
    places.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="records to DIR and tables to DIR/tables (default: results and tables)",
    )


def add_care(parser: argparse.ArgumentParser) -> None:
    """Exactness and checkpoints."""
    care = parser.add_argument_group("exactness and checkpoints")
    care.add_argument(
        "--deterministic",
        action="store_true",
        help="the same bits every time on a GPU too: deterministic kernels only, no TF32; on a CPU "
        "that holds always",
    )
    care.add_argument(
        "--checkpoint-seconds",
        type=number,
        default=CHECKPOINT_SECONDS,
        metavar="S",
        help="write a checkpoint of a running cell every S seconds, at most a 20th of the time "
        "(default: %(default)g)",
    )
    care.add_argument(
        "--checkpoint-edits",
        type=whole(),
        metavar="K",
        help="and every K edits (default: any number)",
    )


def add_machines(parser: argparse.ArgumentParser) -> None:
    """On which machines cells run."""
    where = parser.add_argument_group("on which machines")
    where.add_argument(
        "--executor",
        default=RunConfig.executor,
        metavar="NAME",
        help="local (processes of this machine), ray (tasks of a Ray cluster) or slurm (Slurm "
        "jobs, through submitit); records go to one directory that all machines see (default: "
        "%(default)s)",
    )
    where.add_argument(
        "--jobs",
        type=whole(),
        metavar="N",
        help="worker processes of one thread each, or cores of a Ray that is started here "
        "(default: the CPU cores, 1 on a GPU)",
    )
    where.add_argument(
        "--ray-address",
        metavar="ADDR",
        help="a running cluster: HOST:PORT, or auto for this machine's (default: RAY_ADDRESS, "
        "else Ray is started here)",
    )
    where.add_argument(
        "--gpus-per-cell",
        type=number,
        metavar="F",
        help="of a cell on a GPU; 0.5 lets two share one (default: 1)",
    )
    where.add_argument(
        "--slurm-workers", type=whole(), metavar="K", help="jobs that share the cells (default: 1)"
    )
    where.add_argument("--slurm-partition", metavar="P", help="default: Slurm's")
    where.add_argument(
        "--slurm-time",
        type=whole(),
        metavar="MIN",
        help="minutes of a job, which is queued again when they are over (default: 240)",
    )
    where.add_argument(
        "--slurm-gpus",
        type=whole(),
        metavar="G",
        help="GPUs of a job (default: 1 where cells run on a GPU, else 0)",
    )
    where.add_argument(
        "--slurm-option",
        action="append",
        metavar="NAME=VALUE",
        help="another option of sbatch, such as account=lab or mem=32GB; may be repeated",
    )
    where.add_argument(
        "--slurm-folder",
        type=Path,
        metavar="DIR",
        help="the jobs' files and logs; all machines must see it (default: slurm)",
    )
    where.add_argument("--slurm-cluster", help=argparse.SUPPRESS)
    where.add_argument(
        "--detach",
        action="store_true",
        help="with slurm: submit and return; the same command watches or continues",
    )


def add_protocol(parser: Group) -> None:
    """Which records, where those of several protocols are stored."""
    parser.add_argument(
        "--protocol",
        metavar="ID",
        help="only records of one protocol, such as zsre/blocks/v1, or blocks/v1 for all data "
        "sets; records of several never share a column (default: the present one)",
    )


def add_backbone(parser: Group, default: str) -> None:
    """Which backbone; `default` says which it is where none is named."""
    parser.add_argument(
        "--backbone",
        metavar="NAME|PATH",
        help=f"one of {listed((*EMBEDDED, *HUB_IDS))}, or a local Hugging Face model directory "
        f"(default: {default})",
    )


def add_recent(parser: Group) -> None:
    """Whether all editors are the paper's alone."""
    parser.add_argument(
        "--with-recent",
        action="store_true",
        help="where no editors are named, those of later papers too, which the paper's tables do "
        f"not hold: {listed(recent_labels())}",
    )


def add_preset(parser: Group) -> None:
    """Which scale."""
    parser.add_argument(
        "--preset",
        default=RunConfig.preset,
        metavar="NAME",
        help="embedded (shipped miniature backbones and generated data) or paper (the real "
        "backbones and data sets, on a GPU) (default: %(default)s)",
    )


def add_corpus(parser: Group) -> None:
    """The text of key statistics, and how much of it."""
    parser.add_argument(
        "--corpus",
        metavar="PATH|NAME",
        help="text of the key covariance: a file with one document a line (.txt) or a JSON object "
        f"with a text a line (.jsonl), a directory of these, or of the hub {listed(HUB_TEXTS)} "
        "(default: corpus.txt in --data-dir, else what belongs to the backbone)",
    )
    parser.add_argument(
        "--documents",
        type=whole(1),
        metavar="N",
        help=f"documents of the corpus that are read (default: {DOCUMENTS:,}, and "
        f"{PAPER_DOCUMENTS:,} for the paper's backbones)",
    )


def add_log(parser: Group) -> None:
    """Where events go."""
    parser.add_argument(
        "--log-json",
        type=Path,
        metavar="FILE",
        help="add events to FILE, one JSON object a line, for other programs",
    )


def add_hardware(parser: Group) -> None:
    """On what, and in which precision."""
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:N (default: cpu embedded, cuda for the paper preset)"
    )
    parser.add_argument(
        "--device-map",
        metavar="auto",
        help="auto spreads the backbone over all devices (default: one device)",
    )
    parser.add_argument(
        "--dtype",
        default=RunConfig.dtype,
        metavar="NAME",
        help=f"of the backbone, one of {listed(DTYPES)}; edited weights stay in float32 beside a "
        "smaller one (default: %(default)s, the paper's)",
    )


def config_of(args: argparse.Namespace) -> RunConfig:
    """What the options of a command say of a run.

    Raises:
        ValueError: a value that no run can have.
    """
    given = {name: value for name, value in vars(args).items() if value is not None}
    values = {field.name: given[field.name] for field in fields(RunConfig) if field.name in given}
    if given.get("n_seeds"):
        values["seeds"] = tuple(range(args.n_seeds))
    if given.get("slurm_option"):
        pairs = (assignment(text, "--slurm-option") for text in args.slurm_option)
        values["slurm_option"] = {name.lstrip("-"): value for name, value in pairs}
    form = "EDITOR.NAME=VALUE or EDITOR=PRESET"
    hparams = dict(assignment(text, form=form) for text in given.get("hparam", ()))
    if given.get("index"):
        hparams["recipe.index"] = args.index
    options = {field.name: given[field.name] for field in fields(RunOptions) if field.name in given}
    return RunConfig(
        **values,
        recent=given.get("with_recent", False),
        hparams=hparams,
        options=RunOptions(**options),
    )


def backbone_name(config: RunConfig) -> str:
    """The named backbone, or the first embedded one.

    Raises:
        ValueError: none is named with the paper preset.
    """
    if config.backbone is None and config.preset == "paper":
        raise ValueError(
            f"--preset paper needs --backbone, one of {', '.join(HUB_IDS)}, or a path."
        )
    return config.backbone or EMBEDDED[0]


def backbone_of(config: RunConfig) -> Backbone:
    """The files of that backbone; errors as in `locate`, and for a device that is not there."""
    check_device(config.device)
    hub = config.preset == "paper"
    return locate(backbone_name(config), world_seed=config.world_seed, hub=hub)


def loaded(backbone: Backbone, config: RunConfig) -> LanguageModel:
    """The model of a backbone; a spinner shows that it is loaded."""
    with show_busy(f"loading {backbone.name}"):
        return load(
            backbone, dtype=config.dtype, device=config.device, device_map=config.device_map
        )
