"""Old names of modules, as code outside the package imports them."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

import bench
import editors

NAMES = {
    "bench.backbones": ("load", "locate"),
    "bench.check.compare": ("compare",),
    "bench.datasets.files": ("PublishedFile",),
    "bench.general_ability.lm_eval_model": ("SteeredModel",),
    "bench.metrics": ("answer_in", "generated_agreement", "generated_exact"),
    "bench.probing": ("unsteered",),
    "bench.rows": ("summarise",),
    "bench.sealing": ("encoded",),
    "bench.trying.requests": ("names_in",),
    "editors.parts.subjects": ("subject_last",),
    "editors.parts.weight_editor": ("WeightEditor",),
}


@pytest.mark.parametrize("old", NAMES)
def test_an_old_name_imports_the_module_of_the_new_one_and_warns(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = bench.MOVED | editors.MOVED
    for name in moved:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {moved[old]}"):
        module = import_module(old)
    assert module is import_module(moved[old])
    for name in NAMES[old]:
        assert hasattr(module, name)


def test_a_module_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("bench.nothing")
