"""From a selection of cells to their table: `plan` estimates it, `run` computes, `tables` shows."""

from __future__ import annotations

import argparse
import errno
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.cli.arguments import (
    PROTOCOL,
    RUNNING,
    SELECTION,
    Option,
    add_groups,
    config_of,
    one_of,
)
from bench.core.cells import Cell, Identity
from bench.core.config import RunConfig
from bench.core.console import say, show, terminal_width, warn
from bench.core.files import check_new, write_text
from bench.core.grids import GridPoint, Table, get_table
from bench.core.numerics import fixed_arithmetic
from bench.evaluation.record_kinds import identity_of
from bench.runner.observers import Display, Ending, Observer, json_events
from bench.runner.planning import check_hparams, points, settings
from bench.runner.run import Ran
from bench.runner.run import run as run_cells
from bench.runner.stored import Stored, stored
from bench.store.reference import add_to_reference, write_reference
from bench.store.results import Record, failure_of
from bench.tables import MAIN, METRIC_OPTIONS, view

if TYPE_CHECKING:
    from bench.tables import TextTable, View
    from bench.tables.editing import EditingView


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}.")
    return value


# What `--log-json` reports of the selection, by the options' names.
SELECTING = (
    *("table", "preset", "backbone", "editors", "with_recent", "datasets", "edits", "limit"),
    *("metrics", "measure", "measure_text", "scoring", "harness", "task_limit", "ability_dir"),
    *("hparam", "bundle", "index"),
    *("generation_prompt", "weights", "data_dir", "world_seed", "corpus", "documents", "encoder"),
    *("device", "device_map", "dtype", "out", "seeds", "n_seeds"),
)
VIEWS = ("averages", "by_type", "correlate", "significance")
# fmt: off
VIEWED = (  # one of these
    Option("--by-type", "", "RippleEdits by type of probe, in the terminal"),
    Option("--averages", "", "Avg alone, a column per data set"),
    Option("--correlate", "", "rank correlation of our Avg with the published one over the "
           "editors, per number of edits, in the terminal"),
    Option("--significance", "", "RECIPE against every other editor over the seeds, in the "
           "terminal"),
    Option("--metric-loss", "", "accuracy drop from teacher forcing to free generation, and to "
           "retrieval that sees the prompt alone; in the terminal and as CSV"),
    Option("--export", "FILE", "write the records, without their rows, as JSON lines, to a new "
           "file", Path),
)
SHOWN = (
    Option("--add", "", "with --export, leave the records of other cells in FILE"),
    Option("--reference", "", "of the committed reference results, instead of the records in "
           "results/"),
    Option("--markdown", "", "print the table or its averages as Markdown, and write nothing"),
    Option("--metric", "NAME", f"{', '.join(METRIC_OPTIONS)} (default: {MAIN}, the paper's)",
           one_of("metric", METRIC_OPTIONS)),
)
ESTIMATE = (
    Option("--gpu-memory", "GIB", "compare with a GPU of this size (default: the one at hand, else "
           "24, 40 and 80)", _positive),
    Option("--tflops", "N", "sustained TFLOP/s of training and statistics (default on a GPU: 10 in "
           "float32, 60 in half precision; on the CPU it is measured)", _positive),
    Option("--markdown", "", "print the table as Markdown"),
    Option("--json", "FILE", "write all numbers to FILE", Path),
)
# fmt: on
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def add_run(parser: argparse.ArgumentParser) -> None:
    """The arguments of `run`."""
    add_groups(parser, SELECTION | RUNNING)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, 1 where a cell failed, or 130 or 143 where a signal stopped it."""
    config = config_of(args)
    if args.dry_run:
        lines = list(_listed(config))
        for line in (*lines, *settings(config, points(config)), f"{len(lines)} cells"):
            say(line)
        return 0
    with fixed_arithmetic(wanted=config.options.deterministic):
        if args.log_json is None:
            return _run(config, [Display()]).exit_code
        with json_events(args.log_json, _selection(args)) as events:
            events.ending = _run(config, [Display(), events])
            return events.ending.exit_code


def _run(config: RunConfig, observers: Sequence[Observer]) -> Ending:
    ran = run_cells(config, observers)
    if ran.submitted:
        say(f"submitted: {ran.todo} cells to Slurm, jobs {', '.join(ran.submitted)}")
        say("`python -m bench tables` with the same selection shows what there is;")
        say("the same command without --detach computes what is missing, and waits.")
        return Ending(exit_code=0)
    if ran.exit_code is not None:
        return Ending(exit_code=ran.exit_code)
    written = show_table(ran.table, ran.cells, ran.complete, config.tables)
    written += show_measures(ran.table, ran.cells, ran.complete, config)
    _report_failures(ran)
    _hint(config, ran)
    return Ending(exit_code=int(bool(ran.failed)), failed=len(ran.failed), written=written)


def _report_failures(ran: Ran) -> None:
    """Name the cells that failed, now or earlier."""
    for record in ran.failed:
        warn(f"failed: {identity_of(record['cell']).describe()}: {failure_of(record)}")
    if ran.failed:
        warn(
            f"error: {len(ran.failed)} of {len(ran.cells)} cells failed; their records in "
            f"{ran.store.directory} hold the tracebacks (python -m bench results show KEY). The "
            "same command does not run them again; with --retry-failed it does."
        )


def _hint(config: RunConfig, ran: Ran) -> None:
    """What could follow."""
    if ran.table.measures in ("editing", "ablation") and len(config.named_seeds) == 1:
        warn("next: the same command with --n-seeds 5  # means and spreads over five seeds")
    records = shlex.quote(str(config.records))
    warn(f"next: python -m bench report --from {records}  # a page of all results")


def _listed(config: RunConfig) -> Iterator[str]:
    """One line for each cell, and for the unedited model where it has cells of its own."""
    chosen, measures = points(config), get_table(config.table).measures
    check_hparams(config, chosen, installed=True)
    if measures in ("general_ability", "times"):
        backbones = dict.fromkeys(point.backbone for point in chosen)
        yield from (f"{backbone}  unedited" for backbone in backbones)
        yield from map(_line, chosen)
        return
    for point in chosen:
        limit = "all" if point.limit is None else f"{point.limit:,}"
        yield f"{_line(point)}  samples {limit}"


def _line(point: GridPoint) -> str:
    variant = "" if point.variant is None else f" ({point.variant})"
    return (
        f"{point.backbone}  {point.editor}{variant}  {point.dataset}  edits {point.n_edits:,}  "
        f"seed {point.seed}"
    )


def _selection(args: argparse.Namespace) -> dict[str, Any]:
    """The options that select cells, as plain JSON values."""
    given = {name: vars(args)[name] for name in SELECTING}
    return {name: _plain(value) for name, value in given.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


def add_plan(parser: argparse.ArgumentParser) -> None:
    """The arguments of `plan`: the selection of `run`, and assumptions of the estimate."""
    add_groups(parser, SELECTION | {"the estimate": ESTIMATE})
    parser.set_defaults(func=plan)


def plan(args: argparse.Namespace) -> int:
    """Exit code 0."""
    from bench.runner.costs.estimate import Request, estimate
    from bench.runner.costs.layout import gpu_memory, layout, to_json

    request = Request(config_of(args), teraflops=args.tflops)
    rows, memory = estimate(request), gpu_memory(args.gpu_memory)
    (print_markdown if args.markdown else print_text)(layout(request, rows, memory))
    if not args.markdown:
        for line in settings(request.config, points(request.config)):
            say(line)
    if args.json:
        say(f"written: {write_text(args.json, to_json(request, rows, memory))}")
    return 0


def add_tables(parser: argparse.ArgumentParser) -> None:
    """The arguments of `tables`."""
    add_groups(parser, SELECTION | {"what is shown": (VIEWED, *SHOWN, PROTOCOL)})
    parser.set_defaults(func=tables)


def tables(args: argparse.Namespace) -> int:
    """Exit code 0; no record at all is an error."""
    if args.add and args.export is None:
        raise ValueError("--add is for --export FILE alone.")
    config = config_of(args)
    given = [name for name in (*VIEWS, "metric_loss", "metric") if vars(args)[name]]
    if config.measure and set(given) - {"metric_loss"}:
        raise ValueError(
            f"--measure has tables of its own and takes no --{given[0].replace('_', '-')}."
        )
    selected = stored(config, reference=args.reference, protocol=args.protocol, views=given)
    if args.export is not None:
        keys = {cell.key() for cell in selected.cells}
        records = [record for record in selected.records if record["key"] in keys]
        if args.add:
            path = add_to_reference(args.export, records)
        else:
            path = write_reference(check_new(args.export, "--add adds to it"), records)
        say(f"written: {path}, {len(records):,} records")
    else:
        _show(args, selected, config.tables)
    return 0


def _show(args: argparse.Namespace, selected: Stored, directory: Path) -> None:
    cells = selected.table, selected.cells, selected.records
    metric = args.metric or MAIN
    if args.metric_loss:
        show_losses(*cells, directory, markdown=args.markdown)
    elif args.measure:
        show_measures(*cells, config_of(args), markdown=args.markdown)
    elif chosen := [name for name in VIEWS if vars(args)[name]]:
        from bench.tables.editing import view as view_of_editing

        editing = [
            cell for cell in selected.cells if isinstance(cell, Cell)
        ]  # all of them for views
        shown = view_of_editing(selected.table, editing, selected.records, METRIC_OPTIONS[metric])
        markdown = args.markdown and chosen[0] == "averages"
        (print_markdown if markdown else print_text)(_view(chosen[0])(shown))
    elif args.markdown:
        print_markdown(view(*cells, metric).text)
    else:
        show_table(*cells, directory, metric)


def _view(name: str) -> Callable[[EditingView], TextTable]:
    """A view of a table of editing, by the option that selects it."""
    from bench.tables import correlation, editing, significance

    return {
        "averages": editing.averages,
        "by_type": editing.by_kind,
        "correlate": correlation.rank_table,
        "significance": significance.comparison_table,
    }[name]


def show_table(
    table: Table,
    cells: Sequence[Identity],
    records: Sequence[Record],
    directory: Path,
    metric: str = MAIN,
) -> tuple[str, ...]:
    """Print the table of these cells and write it under a directory; the files."""
    shown = view(table, cells, records, metric)
    print_text(shown.text, written=True)
    return _write(f"table{table.number}", shown, directory)


def show_measures(
    table: Table,
    cells: Sequence[Identity],
    records: Sequence[Record],
    config: RunConfig,
    *,
    markdown: bool = False,
) -> tuple[str, ...]:
    """A table for each optional metric set; the files that were written."""
    from bench.tables.editing import view_of_set

    paths: tuple[str, ...] = ()
    for name in config.measure:
        shown = view_of_set(name, table, cast("Sequence[Cell]", cells), records)
        if markdown:
            print_markdown(shown.text)
            continue
        print_text(shown.text, written=True)
        paths += _write(f"table{table.number}_{name}", shown, config.tables)
    return paths


def show_losses(
    table: Table,
    cells: Sequence[Identity],
    records: Sequence[Record],
    directory: Path,
    *,
    markdown: bool,
) -> None:
    """Print the accuracy drop from teacher forcing to free generation, and write it as CSV.

    As Markdown it is printed alone.
    """
    from bench.tables.metric_loss import by_step, losses, to_csv

    by_key = {record["key"]: record for record in records}
    rows = losses([by_key[key] for cell in cells if (key := cell.key()) in by_key])
    text = by_step(table, rows)
    if markdown:
        print_markdown(text)
        return
    print_text(text)
    path = directory / f"table{table.number}_metric_loss.csv"
    _written(directory, lambda: [write_text(path, to_csv(rows))])


def print_text(text: TextTable, *, written: bool = False) -> None:
    """Print the caption, then one table per group of columns; in a terminal the tables first.

    There the caption of a table that is `written` is its first line and what its marks mean.
    """
    from bench.tables.render import terminal

    width = terminal_width()
    caption = text.caption
    if width is not None and written:
        caption = (caption[0], *(line for line in caption[1:] if line.startswith("\u2020")))
    if width is None:
        _say_lines(caption)
    for rich_table in terminal(text, width):
        show(rich_table)
    if width is not None:
        _say_lines(caption)


def _say_lines(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)


def print_markdown(text: TextTable) -> None:
    """Print a table as Markdown."""
    from bench.tables.render import markdown

    for line in markdown(text).splitlines():
        say(line)


def _write(stem: str, shown: View, directory: Path) -> tuple[str, ...]:
    from bench.tables.render import write_table

    return _written(directory, lambda: write_table(stem, shown, directory))


def _written(directory: Path, write: Callable[[], Sequence[Path]]) -> tuple[str, ...]:
    """Write files, unless their directory is read-only, and say where they are."""
    try:
        paths = write()
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        warn(f"warning: the table is not written: {error.strerror}: {directory}.")
        return ()
    say("written: " + ", ".join(map(str, paths)))
    return tuple(map(str, paths))
