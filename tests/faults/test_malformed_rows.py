"""Every field of every data set with every kind of wrong value: named, counted, or harmless."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.core.names import DATASETS
from bench.datasets import SPLITS, get_dataset
from bench.evaluation.general_ability.sets import load_sets
from tests.datasets.example_rows import EXAMPLE_ROWS, FILE_NAMES
from tests.evaluation.general_ability.tiny_items import ROWS, write_sets
from tests.faults.grid import SilentError, Trial

pytestmark = pytest.mark.faults

FAULTS = "rows"
EXAMPLES = 300
MISSING = object()
HUGE = "word " * 60_000
VALUES: dict[str, object] = {
    "missing": MISSING,
    "null": None,
    "true": True,
    "a number": 5,
    "a negative number": -1,
    "a float": 2.5,
    "NaN": float("nan"),
    "an infinity": float("-inf"),
    "a huge number": 10**400,
    "empty": "",
    "blank": " \t\n",
    "huge": HUGE,
    "NUL": "a\0b",
    "half a character": "a\ud800b",
    "an empty list": [],
    "a list": ["a"],
    "a list of too many": ["a"] * 50,
    "lists in lists": [[[[["a"]]]]],
    "an empty object": {},
    "an object": {"a": {"b": {"c": []}}},
    "a list of objects": [{"prompt": "p"}],
    "a list of half characters": [{"prompt": "\udfff", "targets": ["\ud800"]}],
    "text and targets of other types": [{"prompt": 1, "targets": {"a": 1}}],
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class Loading:
    """A file of rows, and how it is written and read."""

    path: Path
    good: Mapping[str, Any]
    write: Callable[[list[Any]], object]
    read: Callable[[], tuple[list[Any], int]]  # the samples, and how many rows were skipped

    def judge(self, field: str, value: object) -> None:
        """Load a good row and a row with that value.

        Fail if the value is neither named, nor counted, nor unchanged in the sample, nor harmless.
        """
        row = {name: part for name, part in self.good.items() if name != field}
        self.write([self.good, row if value is MISSING else row | {field: value}])
        try:
            samples, skipped = self.read()
        except ValueError as error:
            message = str(error)
            assert message.startswith(f"{self.path}, row 1, field '"), message
            head = message.partition("(")[0]
            assert f"field '{field}'" in message or f"'{field}'" in head, message
            assert "\n" not in message, message
            assert len(message) < 2_000, len(message)
            return
        if skipped or (len(samples) == 2 and bare(samples[0]) == bare(samples[1])):
            return
        if len(samples) != 2 or not holds(samples[1], value):
            raise SilentError(f"{value!r:.80} became {samples[-1]!r:.300}")


def bare(sample: Any) -> str:
    """The text of a sample without its number."""
    return repr(sample).partition(",")[2]


def holds(sample: Any, value: object) -> bool:
    """Whether the texts of a value are in a sample; an empty list has no probes, null no text."""
    if value is None:
        return "''" in repr(sample) or "()" in repr(sample)
    if isinstance(value, str):
        return repr(value.strip())[1:-1] in repr(sample)
    if isinstance(value, list | dict):
        parts = value.values() if isinstance(value, dict) else value
        return all(holds(sample, part) for part in parts)
    return isinstance(value, int) and not isinstance(value, bool) and repr(value) in repr(sample)


def edits(key: str, split: Any, directory: Path) -> Loading:
    path = directory / FILE_NAMES[key, split]
    path.parent.mkdir(parents=True, exist_ok=True)

    def read() -> tuple[list[Any], int]:
        loaded = get_dataset(key).load(split, directory)
        return list(loaded.samples), sum(loaded.skipped.values())

    good = EXAMPLE_ROWS[key]()
    return Loading(path, good, lambda rows: path.write_text(json.dumps(rows)), read)


def questions(name: str, directory: Path) -> Loading:
    key = {"squad": "squad2"}.get(name.partition("_")[0], name.partition("_")[0])
    source = write_sets(directory)
    path = directory / name

    def read() -> tuple[list[Any], int]:
        return list(load_sets(source)[key].items), 0

    def write(rows: list[Any]) -> None:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    return Loading(path, ROWS[name][0], write, read)


def every(directory: Path) -> list[Loading]:
    sets = [edits(k, s, directory / k / s) for k in DATASETS for s in SPLITS]
    return [*sets, *(questions(name, directory / name) for name in ROWS)]


def test_rows(trial: Trial) -> None:
    tries = 0
    for loading in every(trial.folder):
        for field in loading.good:
            for name, value in VALUES.items():
                tries += 1
                with trial.count.trying(f"{loading.path.name}, {field}: {name}"):
                    loading.judge(field, value)
    assert tries > 900
    trial.count.settle(tries)


def test_rows_of_any_values(trial: Trial) -> None:
    sets = every(trial.folder)

    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(data=st.data())
    def try_value(data: st.DataObject) -> None:
        loading = data.draw(st.sampled_from(sets))
        field = data.draw(st.sampled_from(sorted(loading.good)))
        value = data.draw(json_values)
        with trial.count.trying(f"{loading.path.name}, {field}: {value!r:.100}"):
            loading.judge(field, value)

    try_value()
    trial.count.settle(EXAMPLES)
