"""From words to values: readers, the options that commands share, and a command's `RunConfig`.

A reader only turns a word into a value; `RunConfig` and the plan refuse what no run can have.
Options that go into a `RunConfig` are stored under the names of its fields.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
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
from bench.core.grids import SMALL, TABLES
from bench.core.names import DATASETS, listed_names, recent_labels, unknown_name
from bench.core.progress import show_busy
from bench.evaluation.metric_sets import available
from bench.models.backbones import (
    BACKBONES,
    EMBEDDED,
    HUB_IDS,
    Backbone,
    check_device,
    load,
    locate,
)
from bench.models.key_statistics import DOCUMENTS, HUB_TEXTS, PAPER_DOCUMENTS
from bench.models.resources import ENCODERS

if TYPE_CHECKING:
    from editors.parts.language_model import LanguageModel

Group = argparse._ActionsContainer  # noqa: SLF001 - a parser, or a group of it
Reader = Callable[[str], Any]


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
    try:
        return listed_names(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def one_of(kind: str, choices: Iterable[str]) -> Callable[[str], str]:
    """A reader of one of a few names."""
    allowed = tuple(choices)

    def read(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(str(unknown_name(kind, text, allowed)))
        return text

    return read


def assignment(text: str, option: str = "--hparam", form: str = "NAME=VALUE") -> tuple[str, Any]:
    """(name, value) of an option; a value that is no JSON is taken as a string."""
    name, separator, value = text.partition("=")
    if not separator or not name.strip("-"):
        raise ValueError(f"{option} takes {form}, got {text!r}.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def assignments(texts: Iterable[str], option: str = "--hparam", **form: str) -> dict[str, Any]:
    """The values of a repeated option, each name once."""
    values: dict[str, Any] = {}
    for name, value in (assignment(text, option, **form) for text in texts):
        if name in values:
            raise ValueError(f"{option} names {name} twice, with {values[name]!r} and {value!r}.")
        values[name] = value
    return values


def listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


@dataclass(frozen=True)
class Option:
    """An option; without a `metavar` it is a flag. A default is printed where the help has none."""

    flag: str
    metavar: str
    help: str
    read: Reader = str
    default: Any = None
    repeated: bool = False
    dest: str | None = None  # where the flag's name is no attribute, or another option's


Groups = dict[str, tuple[Option | tuple[Option, ...], ...]]


def add_groups(parser: argparse.ArgumentParser, groups: Groups) -> None:
    """Add groups of options by their titles."""
    for title, options in groups.items():
        add(parser.add_argument_group(title), *options)


def add(group: Group, *options: Option | tuple[Option, ...]) -> None:
    """Add options to a parser or to a group of it; of a tuple of them, one may be given."""
    for option in options:
        if isinstance(option, tuple):
            add(group.add_mutually_exclusive_group(), *option)
            continue
        if not option.metavar:
            group.add_argument(option.flag, action="store_true", help=option.help)
            continue
        group.add_argument(
            option.flag,
            dest=option.dest,
            type=option.read,
            action="append" if option.repeated else "store",
            default=[] if option.repeated else option.default,
            metavar=option.metavar,
            help=option.help,
        )


# fmt: off
BACKBONE = Option(
    "--backbone", "NAME|PATH", f"one of {listed(BACKBONES)}, or a local Hugging Face model "
    "directory or GGUF file (default: the table's; mini-llama without one)",
)
PRESET = Option(
    "--preset", "NAME", "embedded (shipped miniature backbones and generated data), small (a "
    "pretrained backbone of 135 million parameters and real data, on a CPU; fetched by `models "
    "fetch small`) or paper (the paper's backbones and data sets, on a GPU)",
    default=RunConfig.preset,
)
WITH_RECENT = Option(
    "--with-recent", "", "where no editors are named, those of later papers too, which the paper's "
    f"tables do not hold: {listed(recent_labels())}",
)
LOG_JSON = Option(
    "--log-json", "FILE", "add events to FILE, one JSON object a line, for other programs", Path,
)
PROTOCOL = Option(
    "--protocol", "ID", "only records of one protocol, such as zsre/blocks/v2, or blocks/v2 for "
    "all data sets; records of several never share a column (default: the present one)",
)
HPARAM = Option(
    "--hparam", "EDITOR.NAME=VALUE", "another hyper-parameter or mode than the editor's preset "
    "has, or another of its presets: EDITOR=PRESET; may be repeated", repeated=True,
)
BUNDLE = Option(
    "--bundle", "NAME", "hyper-parameters of all editors: original (each method's own code) or "
    "paper (as the paper states them, which is EasyEdit's code for most)",
    default=RunConfig.bundle,
)
DATA_DIR = Option(
    "--data-dir", "DIR", "real data files (default: those of the embedded world)", Path,
)
WORLD_SEED = Option("--world-seed", "N", "which embedded world (default: 0)", whole(), 0)
SENTENCE_ENCODER = Option(
    "--encoder", "[EDITOR=]NAME|DIR", "sentence encoder of retrieval editors, or of one of them: "
    f"{listed(ENCODERS)}, or a local directory; may be repeated (default: the embedded one, "
    "roberta-base for the paper's backbones, all-minilm-l6-v2 for smollm2-135m)", repeated=True,
)
CORPUS = (
    Option("--corpus", "PATH|NAME", "text of the key covariance: a file with one document a line "
           "(.txt) or a JSON object with a text a line (.jsonl), a directory of these, .npz files "
           "of statistics that ROME's code computed, or of the "
           f"hub {listed(HUB_TEXTS)} (default: corpus.txt in --data-dir, else what belongs to the "
           "backbone, or the statements of the training splits in --data-dir)"),
    Option("--documents", "N", "documents of the corpus that are read (default: "
           f"{DOCUMENTS:,}, and {PAPER_DOCUMENTS:,} for the paper's backbones)", whole(1)),
)
HARDWARE = (
    Option("--device", "NAME", "cpu, cuda, cuda:N (default: cpu embedded, cuda for the paper "
           "preset)"),
    Option("--device-map", "auto", "auto spreads the backbone over all devices (default: one "
           "device)"),
    Option("--dtype", "NAME", f"of the backbone, one of {listed(DTYPES)}; edited weights stay in "
           "float32 beside a smaller one (default: float32, the paper's)",
           default=RunConfig.dtype),
)
# Groups of options by their titles; of a tuple of options in a group, one may be given.
SELECTION: Groups = {
    "which cells": (
        Option("--table", "N", f"one of {listed(TABLES)}", whole(), RunConfig.table),
        PRESET,
        BACKBONE,
        Option("--editors", "A,B", "default: the paper's eleven", names),
        WITH_RECENT,
        Option("--datasets", "A,B", f"default: {listed(DATASETS)}; zsre for Table 2", names),
        Option("--edits", "N,M", "numbers of sequential edits (default: the table's)", wholes),
        (
            Option("--seeds", "S,T", "default: 0; in the small preset 0,1,2", wholes),
            Option("--n-seeds", "N", "seeds 0 to N-1 (default: seed 0 alone)", whole(1)),
        ),
        Option("--vary", "NAME", "what a seed changes: order (which samples are edited, in which "
               "order), training (of editors with weights of their own, which are trained with "
               "`train --seed`; the samples are those of seed 0) or both (default: order)"),
        Option("--limit", "N", "samples drawn per cell, other ones for each seed as long as there "
               "are enough (default: 20/50/100/1000/10000 at 1/10/100/1000/10000 edits in the "
               "embedded and small presets, a fifth of the split in the paper preset, or all of "
               "it where that is too few)", whole()),
        Option("--batch-per-step", "N", "of Tables 1, 5 and 6: edits that an editor writes "
               "together, batch after batch (default: 1)", whole(1), RunConfig.batch_per_step),
        Option("--metrics", "NAME", f"one of {listed(METRICS)}; the latter skips generation",
               default=RunConfig.metrics),
        # Without a default, so that other tables than of editing can refuse them.
        Option("--measure", "A,B", "of Tables 1, 5 and 6: further metric sets, of "
               f"{listed(available())}; such cells have records of their own, and each set a "
               "table of its own", lambda text: tuple(sorted(names(text)))),
        Option("--measure-text", "PATH|NAME", "the fixed text of the set collapse, as --corpus "
               "names one (default: the embedded world's; real data have none)"),
        (
            # Without a default, so that other tables than Table 2 can refuse them.
            Option("--scoring", "NAME", "of Table 2: paper (options by their first token, as this "
                   "package asks), released (as RECIPE's released code asks, after every block of "
                   "the edits) or lm-eval (through lm-eval, by log-likelihood) (default: paper, "
                   "and released with --preset paper)"),
            Option("--harness", "promptbench", "of Table 2: promptbench decodes answers to each "
                   "of its prompts, and reports their mean and spread; it is installed apart"),
        ),
        Option("--task-limit", "N", "of Table 2: questions of each set, drawn at random (default: "
               "all; 50 with promptbench)", whole()),
        Option("--ability-dir", "DIR", "of Table 2: files of the question sets (default: in "
               "--data-dir, else generated ones, or the hub's in the paper preset)", Path),
        HPARAM,
        BUNDLE,
        Option("--index", "NAME", "how RECIPE searches 10,000 edits or more: exact, or "
               "approximately with faiss, which is an extra; the same as --hparam "
               "recipe.index=faiss (default: exact)", one_of("index", ("exact", "faiss"))),
        Option("--generation-prompt", "NAME", f"one of {listed(GENERATION_PROMPTS)}: the bare "
               "prompt, or an instruction in front", default=RunConfig.generation_prompt),
        Option("--weights", "random", "of Table 3: random times an architecture by its "
               "config.json, with random weights of backbone and editors (default: the trained "
               "ones)",
               one_of("weights", ("random",))),
    ),
    "from where, on what, to where": (
        DATA_DIR,
        WORLD_SEED,
        *CORPUS,
        SENTENCE_ENCODER,
        *HARDWARE,
        Option("--out", "DIR", "records to DIR and tables to DIR/tables (default: results and "
               "tables)", Path),
    ),
}
RUNNING: Groups = {
    "how": (
        Option("--overwrite", "", "run cells again that have a record"),
        Option("--retry-failed", "", "run cells again that failed earlier"),
        Option("--skip-untrained", "", "leave out named editors whose weights are not trained"),
        Option("--dry-run", "", "list the cells and do nothing"),
        LOG_JSON,
    ),
    "exactness and checkpoints": (
        Option("--deterministic", "", "the same bits every time on a GPU too: deterministic "
               "kernels only, no TF32; on a CPU that holds always"),
        Option("--checkpoint-seconds", "S", "write a checkpoint of a running cell every S "
               "seconds, at most a 20th of the time", number, CHECKPOINT_SECONDS),
        Option("--checkpoint-edits", "K", "and every K edits (default: any number)", whole()),
    ),
    "on which machines": (
        Option("--executor", "NAME", "local (processes of this machine), ray (tasks of a Ray "
               "cluster) or slurm (Slurm jobs, through submitit); records go to one directory "
               "that all machines see", default=RunConfig.executor),
        Option("--jobs", "N", "worker processes of one thread each, or cores of a Ray that is "
               "started here (default: the CPU cores, 1 on a GPU)", whole()),
        Option("--ray-address", "ADDR", "a running cluster: HOST:PORT, or auto for this machine's "
               "(default: RAY_ADDRESS, else Ray is started here)"),
        Option("--gpus-per-cell", "F", "of a cell on a GPU; 0.5 lets two share one (default: 1)",
               number),
        Option("--slurm-workers", "K", "jobs that share the cells (default: 1)", whole()),
        Option("--slurm-partition", "P", "default: Slurm's"),
        Option("--slurm-time", "MIN", "minutes of a job, which is queued again when they are over "
               "(default: 240)", whole()),
        Option("--slurm-gpus", "G", "GPUs of a job (default: 1 where cells run on a GPU, else 0)",
               whole()),
        Option("--slurm-option", "NAME=VALUE", "another option of sbatch, such as account=lab or "
               "mem=32GB; may be repeated", repeated=True),
        Option("--slurm-folder", "DIR", "the jobs' files and logs; all machines must see it "
               "(default: slurm)", Path),
        Option("--slurm-cluster", "NAME", argparse.SUPPRESS),
        Option("--detach", "", "with slurm: submit and return; the same command watches or "
               "continues"),
    ),
}
# fmt: on


def config_of(args: argparse.Namespace) -> RunConfig:
    """The configuration that the options of a command describe."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    values = {field.name: given[field.name] for field in fields(RunConfig) if field.name in given}
    if given.get("n_seeds"):
        values["seeds"] = tuple(range(args.n_seeds))
    pairs = assignments(given.get("slurm_option", ()), "--slurm-option")
    values["slurm_option"] = {name.lstrip("-"): value for name, value in pairs.items()} or None
    form = "EDITOR.NAME=VALUE or EDITOR=PRESET"
    hparams = assignments(given.get("hparam", ()), form=form)
    if given.get("index") and hparams.setdefault("recipe.index", args.index) != args.index:
        raise ValueError(
            f"--index {args.index} and --hparam recipe.index={hparams['recipe.index']}: "
            "wanted the index once."
        )
    values["encoder"] = tuple(values.get("encoder", ())) or None
    options = {field.name: given[field.name] for field in fields(RunOptions) if field.name in given}
    return RunConfig(
        **values,
        recent=given.get("with_recent", False),
        hparams=hparams,
        options=RunOptions(**options),
    )


def backbone_name(config: RunConfig) -> str:
    """The named backbone, or the first embedded one."""
    if config.backbone is None and config.preset == "paper":
        raise ValueError(
            f"--preset paper needs --backbone, one of {', '.join(HUB_IDS)}, or a path."
        )
    return config.backbone or (SMALL if config.preset == "small" else EMBEDDED[0])


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
