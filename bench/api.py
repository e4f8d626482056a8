"""The Python API: `bench.run`, `bench.table`, `bench.records`, `bench.open_editor`.

It takes Python values, and refuses what the command line refuses with the same sentences. Nothing
ends the process or changes its environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.config import RESULTS, RunConfig
from bench.core.console import warn
from bench.core.names import listed_names, unknown_name
from bench.datasets import remember
from bench.runner.observers import Display, Observer
from bench.runner.run import run as run_cells
from bench.runner.stored import stored
from bench.store.results import ResultStore, is_complete, parse
from bench.tables import MAIN, METRIC_OPTIONS, frame, view
from bench.tables.render import to_csv
from editors import registry
from editors.parts.checks import check_flag, check_list, check_text, described

if TYPE_CHECKING:
    import pandas as pd

    from bench.runner.executors.base import Finished
    from editors.by_hand import Session

Names = str | Path | Iterable[str | Path]
Numbers = Sequence[int] | int


def run(
    config: RunConfig | None = None,
    *,
    table: int = 1,
    editors: Names | None = None,
    datasets: Names | None = None,
    edits: Numbers | None = None,
    seeds: Numbers | None = None,
    backbone: str | Path | None = None,
    limit: int | None = None,
    hparams: Mapping[str, object] | None = None,
    metrics: str = "all",
    preset: str = "embedded",
    bundle: str = "original",
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

    The arguments are options of `python -m bench run`, with its defaults but for `jobs`: cells run
    in this process, one after another. More of them are processes, and need the caller to be a
    notebook, or a script that is guarded by `if __name__ == "__main__":`.

    Args:
        config: all options at once; the other arguments but `progress` are not read then.
        table: number of a table.
        editors, datasets: names, or paths of Python files with a user's own.
        edits, seeds, limit: sequential edits; seeds of the draws; samples drawn for each cell.
        backbone: a name, or the path of a Hugging Face model directory.
        hparams: `{"rome.layer": 7}`, or `{"rome": "llama-2-7b"}` for a preset.
        metrics: `all`, or `teacher_forced`, which skips generation.
        preset: `embedded`, `small` or `paper`.
        bundle: `original` or `paper`, of hyper-parameters.
        recent: whether all editors include those of later papers.
        data_dir, out: the directories of real data files, and of the records.
        device, dtype: `cpu`, `cuda` or `cuda:N`, and the backbone's type of numbers.
        jobs: worker processes.
        retry_failed, overwrite: whether cells are run again that failed, or that have a record.
        progress: whether a line is written for each cell that ends, to standard error.

    Returns:
        One row for each number; see `bench.tables.tidy`. Scores are in [0, 1].

    Raises:
        ValueError: what cannot be run.
        OSError: files that are missing, or records that cannot be written.
        KeyboardInterrupt: a signal stopped it; the same call continues.
    """
    if config is None:
        config = _config(locals())
    elif not isinstance(config, RunConfig):
        raise ValueError(f"config: expected a RunConfig, got {described(config)}.")
    with _settings_restored():
        ran = run_cells(config, [Display(), *([_Lines()] if progress else [])])
    if ran.exit_code is not None:
        raise KeyboardInterrupt("stopped by a signal; the same call continues")
    return frame(ran.records)


def table(
    number: int = 1,
    *,
    editors: Names | None = None,
    datasets: Names | None = None,
    edits: Numbers | None = None,
    seeds: Numbers | None = None,
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

    check_flag("reference", reference)
    if metric not in METRIC_OPTIONS:
        raise unknown_name("metric", metric, METRIC_OPTIONS)
    config = _config({**locals(), "table": number})
    selected = stored(config, reference=reference, views=() if metric == MAIN else ("metric",))
    shown = view(selected.table, selected.cells, selected.records, metric)
    return pd.read_csv(StringIO(to_csv(shown)))


def open_editor(
    editor: str | Path = "recipe",
    *,
    backbone: str | Path | None = None,
    dataset: str = "zsre",
    hparams: Mapping[str, object] | None = None,
    preset: str = "embedded",
    bundle: str = "original",
    data_dir: str | Path | None = None,
    encoder: str | Path | None = None,
    corpus: str | Path | None = None,
    device: str | None = None,
    dtype: str = "float32",
) -> Session:
    """A session with an editor, to edit a model by hand, ask it, save it and go on later.

    Its weights, its encoder and its statistics are found as `python -m bench try` finds them.
    `editors.get_editor` takes a model that is loaded already, and all files by name.

    Args:
        editor: a name, or the path of a Python file.
        dataset: whose trained weights and training edits the editor takes.
        hparams: `{"layer": 7}`, of this editor.
        encoder: directory of a sentence encoder, or its name.
        corpus: text of key statistics.
        backbone, preset, bundle, data_dir, device, dtype: as in `run`.

    Raises:
        ValueError: what cannot be used.
        OSError: files that are missing; the sentence says what writes them.
    """
    from bench.runner.opening import opened

    (key,) = _names(editor)
    changes = {f"{registry.resolve(key)}.{name}": value for name, value in (hparams or {}).items()}
    given = locals() | {
        "editors": key, "datasets": dataset, "edits": 1, "hparams": changes,
        "encoder": None if encoder is None else (str(encoder),),
        "corpus": None if corpus is None else str(corpus),
    }  # fmt: skip
    with _settings_restored():
        return opened(_config(given))


def records(place: str | Path = RESULTS) -> pd.DataFrame:
    """The numbers of all complete records in a directory, or in a file that `--export` wrote.

    Raises:
        FileNotFoundError: there is no such directory or file.
        ValueError: a line of a file that is no record.
    """
    path = Path(place)
    if path.is_file():
        lines = path.read_bytes().splitlines()
        read = [parse(line, f"{path}, line {i}") for i, line in enumerate(lines, start=1)]
    elif path.is_dir():
        read = [record for record in ResultStore(path).records() if is_complete(record)]
    else:
        raise FileNotFoundError(f"No records at {path}.")
    remember(read)
    return frame(read)


class _Lines(Observer):
    def __init__(self) -> None:
        self._count = 0

    def finished(self, cell: Finished) -> None:
        self._count += 1
        warn(f"{self._count}: {cell.name}: {cell.error or f'{cell.seconds:.1f} s'}")


def _config(given: Mapping[str, Any]) -> RunConfig:
    """Of those arguments that are its fields, in its types."""
    types: dict[str, Callable[[Any], Any]] = {
        "editors": _names,
        "datasets": _names,
        "edits": _numbers,
        "seeds": _numbers,
        "backbone": str,
    }
    values = {f.name: given[f.name] for f in fields(RunConfig) if given.get(f.name) is not None}
    return RunConfig(**{name: types[name](v) if name in types else v for name, v in values.items()})


def _names(names: Names) -> tuple[str, ...]:
    """Names, each once; a text may hold several, separated by commas."""
    if isinstance(names, str):
        return listed_names(names)
    parts = [names] if isinstance(names, Path) else names
    members = check_list("names", parts, str | Path, "names or paths")
    return tuple(dict.fromkeys(check_text("A name", str(part).strip()) for part in members))


def _numbers(numbers: Numbers) -> tuple[Any, ...]:
    if isinstance(numbers, str | bytes) or not isinstance(numbers, Iterable):
        return (numbers,)
    return tuple(check_list("numbers", numbers, object, "whole numbers"))


@contextmanager
def _settings_restored() -> Iterator[None]:
    """Silence the bars of loading, and restore the number of threads, which a cell changes."""
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
