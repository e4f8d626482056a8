"""What editors of later papers are said to need and to take, one by one, against tiny real ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from bench.core.names import recent_labels
from bench.runner.costs.counted import FACT_TOKENS, context_tokens, edit_operations
from bench.runner.costs.estimate import HOUR
from bench.runner.costs.shapes import encoder_shape, shape_of_backbone
from bench.runner.costs.training import TERAFLOPS
from editors import registry
from editors.alphaedit import AlphaEditHparams
from editors.base import Editor
from editors.ike import IkeHparams
from editors.parts.needs import Needs, Setting
from editors.parts.wise.hparams import WiseHparams
from editors.rag import RagEditor, RagHparams
from editors.ultraedit import UltraEditHparams
from tests.runner.costs.test_needs import setting_of, size
from tests.runner.costs.test_plan import planned, row
from tests.support.contract import Subject
from tests.support.tiny import REQUESTS

PARAMETERS = 6_738_415_616  # of LLaMA-2-7B
ASKED = ("--preset", "paper", "--datasets", "cf", "--edits", "10", "--limit", "100")


@pytest.fixture(params=["llama", "gpt2"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A function from an editor's key to (a tiny one with its edits, what is said of it)."""

    def make(key: str) -> tuple[Editor[Any], Needs]:
        editor = Subject(key=key, architecture=request.param, directory=tmp_path).editor()
        editor.edit(REQUESTS)
        needs = editor.needs(editor.hparams, setting_of(editor.lm, tmp_path / "encoder"))
        assert needs is not None
        return editor, needs

    return make


def part(editor: Editor[Any], start: str) -> dict[str, Tensor]:
    return {name: value for name, value in editor.state_dict().items() if name.startswith(start)}


def large(**changes: Any) -> Setting:
    return dataclasses.replace(
        Setting(
            shape=shape_of_backbone("llama-2-7b"),
            encoder=encoder_shape(None, hub=True),
            dtype="float32",
            singles=False,
        ),
        **changes,
    )


def test_alphaedits_keys(made: Any) -> None:
    editor, found = made("alphaedit")
    copies = 2 * 8 * setting_of(editor.lm).shape.inner  # in float64, of one layer
    kept = size(part(editor, "past_keys."))
    assert kept == len(REQUESTS) * (found.per_edit - copies)
    bases = sum(space.basis.numel() for space in editor.spaces.values()) * 8
    assert bases <= found.held - size(editor._weights.state_dict())


def test_wises_memories(made: Any) -> None:
    editor, found = made("wise")
    side = size({"side": editor.memories.side})
    assert found.held == 3 * side  # the one in progress, and two until they are merged
    assert found.per_edit == side / editor.hparams.merge_freq
    merging = dataclasses.replace(editor.hparams, mode="merge")
    assert editor.needs(merging, setting_of(editor.lm)).held == 4 * side
    assert editor.needs(merging, setting_of(editor.lm)).per_edit == 0


def test_ultraedits_weights_and_statistics(made: Any) -> None:
    editor, found = made("ultraedit")
    statistics = size(part(editor, "statistics."))
    edited = sum(p.d_in * p.d_out for p in editor.projections)
    assert 0 < statistics <= found.held - 4 * edited
    assert found.per_edit == 0
    assert found.working > 4 * edited


@pytest.mark.parametrize("key", ["ike", "rag"])
def test_keys_of_facts(key: str, made: Any) -> None:
    editor, found = made(key)
    assert size({"keys": editor.state_dict()["keys"]}) == len(REQUESTS) * found.per_edit
    pool = (
        found.held
        - RagEditor.needs(RagHparams(), setting_of(editor.lm, editor.resources.encoder)).held
    )
    assert pool == (editor.hparams.pool * found.per_edit if key == "ike" else 0)


def test_alphaedits_time_grows_with_its_keys() -> None:
    few, many = (edit_operations(AlphaEditHparams(layers=(0, 1)), large(), n) for n in (3, 300))
    assert few is not None
    assert many is not None
    gram = 2 * 11_008 * (300 * 300 - 3 * 3) / 3
    assert many - few == pytest.approx(2 * gram)
    # 25 steps of seven rows of 40 tokens through 31 of 32 blocks, forward and back
    assert few == pytest.approx(25 * 7 * 40 * 4 * PARAMETERS * 31 / 32, rel=1e-3)


def test_wises_time_is_that_of_its_iterations() -> None:
    wanted = 70 * 12 * 40 * 4 * PARAMETERS * 5 / 32  # the last five of 32 blocks
    assert edit_operations(WiseHparams(layer=27), large(), 1) == pytest.approx(wanted)


def test_ultraedits_time_is_one_pass() -> None:
    wanted = 40 * PARAMETERS * (2 + 2 * 3 / 32)  # forward, and back through the last three blocks
    assert edit_operations(UltraEditHparams(layers=(29,)), large(), 1) == pytest.approx(wanted)


def test_ikes_demonstrations_are_read_with_every_question(tmp_path: Path) -> None:
    assert context_tokens(IkeHparams(), large()) == 32 * 35 + FACT_TOKENS
    short = dataclasses.replace(large().shape, context=1_024)
    assert context_tokens(IkeHparams(), large(shape=short)) == 1_024 - 128
    assert context_tokens(WiseHparams(layer=0), large()) == 0
    ike, rag = (row(planned(tmp_path, *ASKED, "--editors", key), key.upper())
                for key in ("ike", "rag"))  # fmt: skip
    longer = (ike["asking_hours"] - rag["asking_hours"]) * HOUR
    inferences = 100 * 3 * 3  # forced, greedy, and by the prompt alone
    operations = inferences * 2 * PARAMETERS * 32 * 35
    assert longer == pytest.approx(operations / (1e12 * TERAFLOPS["float32"]))


def test_rags_edit_encodes_one_question() -> None:
    encoder = large().encoder
    assert edit_operations(RagHparams(), large(), 1) == 40 * 2 * encoder.parameters


def test_a_backbone_without_records_takes_those_of_mini_llama(tmp_path: Path) -> None:
    words = ("--editors", "rag", "--datasets", "cf", "--edits", "10")
    here = row(planned(tmp_path, *words), "RAG")
    there = row(planned(tmp_path, "--table", "6", *words), "RAG")
    sizes = [shape_of_backbone(name).parameters for name in ("mini-gpt2", "mini-llama")]
    ratio = sizes[0] / sizes[1]
    assert there["editing_hours"] == pytest.approx(ratio * here["editing_hours"])
    assert there["asking_hours"] == pytest.approx(ratio * here["asking_hours"])


@pytest.mark.parametrize("number", ["1", "2", "3", "5", "6"])
@pytest.mark.parametrize("preset", ["paper", "embedded"])
def test_all_of_them_are_planned(number: str, preset: str, tmp_path: Path) -> None:
    plan = planned(tmp_path, "--table", number, "--preset", preset, "--with-recent")
    found = [row(plan, label) for label in recent_labels()]
    assert all(one["known"] and one["hours"] > 0 for one in found)
    counted = f"Hours of {', '.join(recent_labels())}, which Table 3 does not hold"
    assert any(line.startswith(counted) for line in plan["assumptions"]) == (preset == "paper")


def test_every_editor_of_a_later_paper_is_known() -> None:
    for label in recent_labels():
        hparams = registry.hparams_for(label, "llama-2-7b")
        assert registry.editor_class(label).needs(hparams, large()) is not None
        assert edit_operations(hparams, large(), 10)
