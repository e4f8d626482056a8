"""A whole run on a GPU, from the command line to the records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from tests.cli.asked import records
from tests.devices.pretend import pretend_gpu

_RUN = ["run", "--table", "1", "--editors", "ft,memit,grace,recipe", "--datasets", "zsre"]
_RUN += ["--edits", "2", "--limit", "2", "--jobs", "1", "--out", "out"]


def test_a_run_scores_what_it_does_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for device in ("cpu", "cuda"):
        (tmp_path / device).mkdir()
        monkeypatch.chdir(tmp_path / device)
        if device == "cuda":
            with pretend_gpu():
                assert main([*_RUN, "--device", "cuda"]) == 0
        else:
            assert main(_RUN) == 0
        found[device] = records()
    assert {r["provenance"]["hardware"]["device"] for r in found["cuda"]} == {"cuda"}
    assert _scores(found["cuda"]) == _scores(found["cpu"])
    assert len(_scores(found["cpu"])) == 4


def _scores(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {record["cell"]["editor"]: record["summary"] for record in records}
