"""The commands as Python functions, for notebooks: `bench.run`, `bench.table`, `bench.records`.

What is asked for is put into the words of the command line and goes its way, so that both refuse
the same things with the same sentences. Nothing ends the process or changes its environment.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bench.cli import run as run_command
from bench.cli import tables as tables_command
from bench.cli.arguments import RESULTS
from bench.cli.work import computed
from bench.core.console import warn
from bench.datasets.plugins import remember
from bench.store.results import ResultStore, is_complete, parse
from bench.tables import MAIN, frame, view
from bench.tables.render import to_csv

if TYPE_CHECKING:
    import pandas as pd

    from bench.runner.worker import Finished

Names = str | Path | Iterable[str | Path]


def run(
    *,
    table: int = 1,
    editors: Names | None = None,
    datasets: Names | None = None,
    edits: Sequence[int] | int | None = None,
    seeds: Sequence[int] | int | None = None,
    backbone: str | Path | None = None,
    limit: int | None = None,
    hparams: Mapping[str, object] | None = None,
    metrics: str = "all",
    preset: str = "embedded",
    recent: bool = False,
    data_dir: str | Path | None = None,
    device: str | None = None,
    dtype: str = "float32",
    jobs: int = 1,
    out: str | Path | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> pd.DataFrame:
    """Run the cells of a table that have no record yet, and return the numbers of all.

    The arguments are the options of `python -m bench run`. What is not given is as there, but for
    `jobs`: cells run in this process, one after another. More of them are processes, and want the
    caller to be a notebook, or a script that is guarded by `if __name__ == "__main__":`.

    Args:
        table: number of a table.
        editors: names, or paths of Python files with an editor of one's own.
        datasets: likewise.
        edits: numbers of sequential edits.
        seeds: of the draws of samples.
        backbone: a name, or the path of a Hugging Face model directory.
        limit: samples drawn for each cell.
        hparams: `{"rome.layer": 7}`, or `{"rome": "llama-2-7b"}` for a preset.
        metrics: `all`, or `teacher_forced`, which skips generation.
        preset: `embedded` or `paper`.
        recent: whether all editors are meant to hold those of later papers.
        data_dir: real data files.
        device: `cpu`, `cuda`, `cuda:N`.
        dtype: of the backbone.
        jobs: worker processes.
        out: directory of the records.
        retry_failed: whether cells are run again that failed earlier.
        overwrite: whether cells are run again that have a record.
        progress: whether a line is written for each cell that ends, to standard error.

    Returns:
        One row for each number; see `bench.tables.tidy`. Scores are in [0, 1].

    Raises:
        ValueError: what cannot be run.
        OSError: files that are missing, or records that cannot be written.
        KeyboardInterrupt: a signal stopped it; the same call continues.
    """
    words = [
        *_option("table", table), *_option("editors", _joined(editors)),
        *_option("datasets", _joined(datasets)), *_option("edits", _joined(edits)),
        *_option("seeds", _joined(seeds)), *_option("backbone", backbone),
        *_option("limit", limit), *_option("metrics", metrics), *_option("preset", preset),
        *_option("data-dir", data_dir), *_option("device", device), *_option("dtype", dtype),
        *_option("jobs", jobs), *_option("out", out), *_hparams(hparams),
        *_flags(with_recent=recent, retry_failed=retry_failed, overwrite=overwrite),
    ]  # fmt: skip
    told = 0

    def tell(one: Finished) -> None:
        nonlocal told
        told += 1
        if progress:
            warn(f"{told}: {one.name}: {one.error or f'{one.seconds:.1f} s'}")

    with _settings_kept():
        ran = computed(_parsed("run", run_command, words), tell)
    if isinstance(ran, int):
        raise KeyboardInterrupt("stopped by a signal; the same call continues")
    return frame(ran.records)


def table(
    number: int = 1,
    *,
    editors: Names | None = None,
    datasets: Names | None = None,
    edits: Sequence[int] | int | None = None,
    seeds: Sequence[int] | int | None = None,
    backbone: str | Path | None = None,
    limit: int | None = None,
    metrics: str = "all",
    metric: str = MAIN,
    recent: bool = False,
    reference: bool = False,
    out: str | Path | None = None,
) -> pd.DataFrame:
    """A table from stored records, as `python -m bench tables` writes it to its CSV file.

    Args:
        number: of the table.
        metric: which numbers it shows.
        reference: whether of the committed reference results.
        editors, datasets, edits, seeds, backbone, limit, metrics, recent, out: as in `run`.

    Raises:
        ValueError: there is no such table, or no record of it.
    """
    import pandas as pd

    words = [
        *_option("table", number), *_option("editors", _joined(editors)),
        *_option("datasets", _joined(datasets)), *_option("edits", _joined(edits)),
        *_option("seeds", _joined(seeds)), *_option("backbone", backbone),
        *_option("limit", limit), *_option("metrics", metrics),
        *_option("metric", None if metric == MAIN else metric), *_option("out", out),
        *_flags(with_recent=recent, reference=reference),
    ]  # fmt: skip
    chosen, cells, found = tables_command.chosen_records(_parsed("tables", tables_command, words))
    return pd.read_csv(StringIO(to_csv(view(chosen, cells, found, metric))))


def records(place: str | Path = RESULTS) -> pd.DataFrame:
    """The numbers of all complete records in a directory, or in a file that `--export` wrote.

    Raises:
        FileNotFoundError: there is no such place.
        ValueError: a line of a file that is no record.
    """
    path = Path(place)
    if path.is_file():
        lines = path.read_bytes().splitlines()
        found = [parse(line, f"{path}, line {i}") for i, line in enumerate(lines, start=1)]
    elif path.is_dir():
        found = [record for record in ResultStore(path).records() if is_complete(record)]
    else:
        raise FileNotFoundError(f"No records at {path}.")
    remember(found)
    return frame(found)


class _Parser(argparse.ArgumentParser):
    """Raises what the command line's parser prints."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _parsed(name: str, command: Any, words: Sequence[str]) -> argparse.Namespace:
    """The words as the command reads them."""
    parser = _Parser(prog="bench", allow_abbrev=False)
    command.add_commands(parser.add_subparsers())
    return parser.parse_args([name, *words])


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [f"--{name}={value}"]


def _flags(**flags: bool) -> Iterator[str]:
    return (f"--{name.replace('_', '-')}" for name, wanted in flags.items() if wanted)


def _hparams(hparams: Mapping[str, object] | None) -> Iterator[str]:
    import json

    for place, value in (hparams or {}).items():
        yield f"--hparam={place}={value if isinstance(value, str) else json.dumps(value)}"


def _joined(values: Names | Iterable[int] | int | None) -> str | None:
    if values is None or isinstance(values, str | Path | int):
        return None if values is None else str(values)
    return ",".join(map(str, values))


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Silence the bars of loading, and put back the number of threads, which a cell changes."""
    import torch
    from transformers.utils import logging

    threads, bars = torch.get_num_threads(), logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if bars:
            logging.enable_progress_bar()
