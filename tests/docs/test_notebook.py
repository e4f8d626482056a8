"""The notebook of the examples, run from its first cell to its last."""

from __future__ import annotations

import ast
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.source import ROOT

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def cells(kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def test_it_is_plain_and_holds_no_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    for cell in cells("code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        ast.parse("".join(cell["source"]))
    assert len(cells("code")) >= 5


@pytest.mark.notebook
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    shutil.copy(NOTEBOOK.parent / "my_editor.py", tmp_path)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    read = nbformat.read(NOTEBOOK, as_version=4)
    done = client.NotebookClient(read, timeout=900, resources={"metadata": {"path": tmp_path}})
    done.execute()
    texts = [
        output["data"]["text/plain"]
        for cell in read.cells
        for output in cell.get("outputs", ())
        if "text/plain" in output.get("data", {})
    ]
    assert any("AnswerMemory" in text for text in texts)
    assert texts[-1] == "('New Geanholm.', 'Brimere.', 'New Geanholm.')"  # before, after, again
