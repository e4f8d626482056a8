"""Arguments that several commands share, and what they mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from bench.cli.values import (
    counts,
    hparams_by_editor,
    listed,
    metric_sets,
    names,
    one_of,
    whole,
)
from bench.core.cells import Generation
from bench.core.grids import PRESETS, TABLES, Selection
from bench.core.names import DATASETS, ENCODER, recent_labels
from bench.evaluation.metric_sets import available
from bench.models.backbones import DEVICE_MAPS, DTYPES, EMBEDDED, HUB_IDS
from bench.models.corpora import DOCUMENTS, HUB_TEXTS, PAPER_DOCUMENTS
from bench.models.resources import HUB_ENCODERS
from bench.runner.plan_general_ability import Asking
from bench.runner.planning import Settings

RESULTS, TABLES_FOLDER = Path("results"), Path("tables")
METRICS = ("all", "teacher_forced")
GENERATION_PROMPTS = tuple(name for name in get_args(Generation) if name != "none")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which cells of which table, on what."""
    cells = parser.add_argument_group("which cells")
    cells.add_argument(
        "--table", type=whole(1), default=1, metavar="N", help=f"one of {listed(TABLES)}"
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
    cells.add_argument("--edits", type=counts(1), metavar="N,M", help="numbers of sequential edits")
    seeds = cells.add_mutually_exclusive_group()
    seeds.add_argument("--seeds", type=counts(0), metavar="S,T", help="default: 0")
    seeds.add_argument("--n-seeds", type=whole(1), metavar="N", help="seeds 0 to N-1")
    cells.add_argument(
        "--limit",
        type=whole(1),
        metavar="N",
        help="samples drawn per cell (default: 20/50/100/1000/10000 at 1/10/100/1000/10000 edits "
        "in the embedded preset, all in the paper preset)",
    )
    cells.add_argument(
        "--metrics",
        type=one_of("metrics", METRICS),
        default="all",
        help="all (the default) or teacher_forced, which skips generation",
    )
    add_measure(cells)
    add_asking(cells)
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
        help="how RECIPE searches 10,000 edits or more: exact (the default), or approximately with "
        "faiss, which is an extra; the same as --hparam recipe.index=faiss",
    )
    cells.add_argument(
        "--generation-prompt",
        type=one_of("generation prompt", GENERATION_PROMPTS),
        default="context_free",
        help="context_free (the bare prompt; the default) or context_guided (an instruction "
        "in front)",
    )
    cells.add_argument(
        "--weights",
        type=one_of("weights", ("random",)),
        help="of Table 3: random times an architecture by its config.json, with random weights of "
        "backbone and editors (default: the trained ones)",
    )
    _add_places(parser)


def add_measure(cells: argparse._ArgumentGroup) -> None:
    """Optional metric sets. Without a default: other tables than of editing refuse them."""
    cells.add_argument(
        "--measure",
        type=metric_sets,
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


def add_protocol(parser: argparse.ArgumentParser) -> None:
    """Which records, where those of several protocols are stored."""
    parser.add_argument(
        "--protocol",
        metavar="ID",
        help="only records of one protocol, such as zsre/blocks/v1, or blocks/v1 for all data "
        "sets; records of several never share a column (default: the present one)",
    )


def add_asking(cells: argparse._ArgumentGroup) -> None:
    """How Table 2 asks its questions. Without a default: other tables refuse them."""
    harness = cells.add_mutually_exclusive_group()
    harness.add_argument(
        "--scoring",
        type=one_of("scoring", ("paper", "lm-eval")),
        help="of Table 2: paper (options by their first token, as the released code; the default) "
        "or lm-eval (through lm-eval, by log-likelihood)",
    )
    harness.add_argument(
        "--harness",
        type=one_of("harness", ("promptbench",)),
        help="of Table 2: promptbench decodes answers to each of its prompts, and tells their "
        "mean and spread; it is installed apart",
    )
    cells.add_argument(
        "--task-limit",
        type=whole(1),
        metavar="N",
        help="of Table 2: questions of each set, drawn at random (default: all; 50 with "
        "promptbench)",
    )
    cells.add_argument(
        "--ability-dir",
        type=Path,
        metavar="DIR",
        help="of Table 2: files of the question sets (default: in --data-dir, else made ones, or "
        "the hub's in the paper preset)",
    )


def asking(args: argparse.Namespace) -> Asking:
    """How the questions of general ability are asked."""
    return Asking(
        scoring=args.harness or args.scoring or "paper",
        task_limit=args.task_limit,
        ability_dir=args.ability_dir,
    )


def selection(args: argparse.Namespace, seeds: tuple[int, ...] = (0,)) -> Selection:
    """The cells asked for; `seeds` where none are named."""
    chosen = tuple(range(args.n_seeds)) if args.n_seeds else args.seeds
    return Selection(
        preset=args.preset,
        backbone=args.backbone,
        editors=args.editors,
        datasets=args.datasets,
        edits=args.edits,
        seeds=tuple(dict.fromkeys(chosen or seeds)),
        limit=args.limit,
        recent=args.with_recent,
    )


def settings(args: argparse.Namespace) -> Settings:
    """What holds for the whole run."""
    return Settings(
        preset=args.preset,
        world_seed=args.world_seed,
        data_dir=args.data_dir,
        corpus=args.corpus,
        documents=args.documents,
        encoder=args.encoder,
        weights=args.weights or "trained",
        dtype=args.dtype,
        device=device_of(args),
        device_map=args.device_map,
        generation="none" if args.metrics == "teacher_forced" else args.generation_prompt,
        measures=args.measure or (),
        measure_text=args.measure_text,
        hparams=hparams_by_editor(_hparams(args)),
    )


def device_of(args: argparse.Namespace) -> str:
    """The device that was named, else the preset's."""
    return str(args.device or ("cuda" if args.preset == "paper" else "cpu"))


def backbone_name(args: argparse.Namespace) -> str:
    """The named backbone, or the first embedded one.

    Raises:
        ValueError: none is named with the paper preset.
    """
    if args.backbone is None and args.preset == "paper":
        raise ValueError(
            f"--preset paper needs --backbone, one of {', '.join(HUB_IDS)}, or a path."
        )
    return str(args.backbone or EMBEDDED[0])


def add_backbone(parser: argparse._ArgumentGroup, default: str) -> None:
    """Which backbone; `default` says which it is where none is named."""
    parser.add_argument(
        "--backbone",
        metavar="NAME|PATH",
        help=f"one of {listed((*EMBEDDED, *HUB_IDS))}, or a local Hugging Face model directory "
        f"(default: {default})",
    )


def add_recent(parser: argparse._ArgumentGroup) -> None:
    """Whether all editors are the paper's alone."""
    parser.add_argument(
        "--with-recent",
        action="store_true",
        help="where no editors are named, those of later papers too, which the paper's tables do "
        f"not hold: {listed(recent_labels())}",
    )


def add_preset(parser: argparse._ArgumentGroup) -> None:
    """Which scale."""
    parser.add_argument(
        "--preset",
        type=one_of("preset", PRESETS),
        default="embedded",
        help="embedded (shipped miniature backbones and made data; the default) or paper "
        "(the real backbones and data sets, on a GPU)",
    )


def add_corpus(parser: argparse._ArgumentGroup) -> None:
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


def add_log(parser: argparse._ArgumentGroup) -> None:
    """Where events go."""
    parser.add_argument(
        "--log-json",
        type=Path,
        metavar="FILE",
        help="add events to FILE, one JSON object a line, for other programs",
    )


def add_hardware(parser: argparse._ArgumentGroup) -> None:
    """On what, and in which precision."""
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:N (default: cpu embedded, cuda for the paper preset)"
    )
    parser.add_argument(
        "--device-map",
        type=one_of("device map", DEVICE_MAPS),
        metavar="auto",
        help="auto spreads the backbone over all devices",
    )
    parser.add_argument(
        "--dtype",
        type=one_of("dtype", DTYPES),
        default="float32",
        help=f"of the backbone, one of {listed(DTYPES)} (default: float32, the paper's); edited "
        "weights are kept in float32 beside a smaller one",
    )


def records_directory(args: argparse.Namespace) -> Path:
    """Where records are."""
    return args.out or RESULTS


def tables_directory(args: argparse.Namespace) -> Path:
    """Where tables go: beside the records when a place for these is named."""
    return args.out / "tables" if args.out else TABLES_FOLDER


def _add_places(parser: argparse.ArgumentParser) -> None:
    places = parser.add_argument_group("from where, on what, to where")
    places.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="real data files, instead of made ones"
    )
    places.add_argument(
        "--world-seed", type=whole(0), default=0, metavar="N", help="which made world (default 0)"
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


def _hparams(args: argparse.Namespace) -> list[str]:
    """What `--hparam` says, and what other options say by other words."""
    return [*args.hparam, *([f"recipe.index={args.index}"] if args.index else [])]
