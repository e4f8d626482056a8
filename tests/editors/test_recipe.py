"""The RECIPE editor over a tiny trained artefact."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.checks.contract.tiny import REQUESTS, batch_for, tiny_gpt2, tiny_llama
from editors.base import EditRequest, Resources
from editors.parts.artefact import read_artefact
from editors.parts.encoder import SentenceEncoder
from editors.parts.language_model import LanguageModel
from editors.parts.recipe.hparams import TINY, RecipeHparams
from editors.parts.tokens import batch_of_ids, prompt_ids
from editors.parts.training.examples import statement
from editors.recipe import RecipeEditor
from tests.support.tiny_files import resources, samples

HPARAMS = dataclasses.replace(TINY, iterations=10, schedule="joint")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Resources:
    directory = tmp_path_factory.mktemp("recipe")
    given = resources(directory)
    artefact = RecipeEditor.fit(tiny_llama(), {"zsre": samples()}, HPARAMS, given, out=directory)
    return dataclasses.replace(given, artefact=artefact)


@pytest.fixture
def editor(trained: Resources) -> RecipeEditor:
    """An editor whose sentinel never wins, so that every query retrieves something."""
    editor = RecipeEditor(tiny_llama(), HPARAMS, trained)
    far = torch.full_like(editor.repository.keys[:1], -1e3) * editor.repository.keys.sign()
    editor.load_state_dict(editor.state_dict() | {"keys": far})
    return editor


def test_the_same_request_twice_stays_two_rows(editor: RecipeEditor) -> None:
    request = EditRequest(prompt="A", target="B", subject="A")
    editor.edit([request, request])
    assert len(editor.repository) == 2
    assert editor.retrieve(["A"]).tolist() == [1]


def test_words_stand_where_the_continuous_prompt_does(
    editor: RecipeEditor, trained: Resources
) -> None:
    """The ablation without continuous prompts, with the same weights and the same retrieval."""
    words = RecipeEditor(tiny_llama(), dataclasses.replace(HPARAMS, prompts="words"), trained)
    words.load_state_dict(editor.state_dict())
    words.edit(REQUESTS[:2])
    lm, asked = words.lm, REQUESTS[0].prompt
    rows = batch_for(lm, [(asked, ""), (REQUESTS[1].prompt, "")])
    hits = words.retrieve(rows.texts).tolist()
    with words.steering(rows):
        ours = lm.logits(rows)[0, : rows.prompt_lengths[0]]
    fact = statement(REQUESTS[hits[0] - 1])
    ids = [*prompt_ids(lm.tokenizer, fact)[1:], *prompt_ids(lm.tokenizer, asked)]  # before BOS
    joined = batch_of_ids([ids], [[]], [""], padding=0, device=lm.device)
    theirs = lm.logits(joined)[0, -rows.prompt_lengths[0] :]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    state = words.state_dict()
    words.reset()
    assert words.texts == []
    words.load_state_dict(state)
    assert words.texts == [statement(request) for request in REQUESTS[:2]]


def test_a_threshold_takes_the_sentinels_place(tmp_path: Path) -> None:
    given = resources(tmp_path)
    hparams = dataclasses.replace(HPARAMS, gate="threshold", calibration=10)
    artefact = RecipeEditor.fit(tiny_llama(), {"zsre": samples()}, hparams, given, out=tmp_path)
    with pytest.raises(ValueError, match="gate is 'threshold' there"):
        RecipeEditor(tiny_llama(), HPARAMS, dataclasses.replace(given, artefact=artefact))
    editor = RecipeEditor(tiny_llama(), hparams, dataclasses.replace(given, artefact=artefact))
    threshold = editor.repository.threshold
    assert threshold is not None
    assert editor.network.threshold is not None
    assert threshold == float(editor.network.threshold) != 0
    editor.edit(REQUESTS)
    queries = editor.queries([r.prompt for r in REQUESTS])
    best, row = (queries @ editor.repository.keys[1:].T).max(dim=1)
    expected = torch.where(best > threshold, row + 1, 0)
    assert editor.retrieve([r.prompt for r in REQUESTS]).tolist() == expected.tolist()
    other = RecipeEditor(tiny_llama(), hparams, dataclasses.replace(given, artefact=artefact))
    other.load_state_dict(editor.state_dict())
    assert other.repository.threshold == threshold


def test_a_threshold_is_stored_for_each_number_of_edits(tmp_path: Path) -> None:
    given = resources(tmp_path)
    hparams = dataclasses.replace(HPARAMS, gate="threshold", calibration_edits=(1, 2, 4))
    artefact = RecipeEditor.fit(tiny_llama(), {"zsre": samples()}, hparams, given, out=tmp_path)
    given = dataclasses.replace(given, artefact=artefact)
    with pytest.raises(ValueError, match=r"calibration_edits is \[1, 2, 4\] there, wanted None"):
        RecipeEditor(tiny_llama(), dataclasses.replace(hparams, calibration_edits=()), given)
    editor = RecipeEditor(tiny_llama(), hparams, given)
    assert editor.network.threshold is not None
    stored = editor.network.threshold.tolist()
    used = [editor.repository.threshold]
    for request in (REQUESTS * 2)[:5]:
        editor.edit([request])
        used.append(editor.repository.threshold)
    assert used == [stored[i] for i in (0, 0, 1, 2, 2, 2)]
    editor.reset()
    assert editor.repository.threshold == stored[0]


def test_a_frozen_encoder_is_not_stored_and_read_again(tmp_path: Path) -> None:
    given = resources(tmp_path)
    hparams = dataclasses.replace(HPARAMS, encoder="frozen", dropout=True)
    artefact = RecipeEditor.fit(tiny_llama(), {"zsre": samples()}, hparams, given, out=tmp_path)
    stored, _ = read_artefact(artefact)
    assert {name.partition(".")[0] for name in stored} == {"mlp_k", "mlp_q", "mlp_p", "sentinel"}
    with pytest.raises(ValueError, match="do not fit: encoder_digest"):
        RecipeEditor(tiny_llama(), HPARAMS, dataclasses.replace(given, artefact=artefact))
    given = dataclasses.replace(given, artefact=artefact)
    editor = RecipeEditor(tiny_llama(), hparams, given)
    directory = tmp_path / "encoder"
    plain = SentenceEncoder.from_directory(directory, pool=hparams.pool, seed=0)
    for name, weight in plain.state_dict().items():
        assert torch.equal(editor.network.encoder.state_dict()[name], weight), name
    assert torch.equal(editor.network.mlp_k.inward.weight, stored["mlp_k.inward.weight"])
    # Other weights of the same shape are another encoder.
    weights = directory / "model.safetensors"
    save_file({k: v + 1 for k, v in load_file(weights).items()}, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="encoder_digest"):
        RecipeEditor(tiny_llama(), hparams, given)


def test_the_field_of_several_thresholds_is_in_no_cell_without_them() -> None:
    assert "calibration_edits" not in HPARAMS.to_dict()
    hparams = dataclasses.replace(HPARAMS, calibration_edits=(1, 10))
    assert RecipeHparams.from_dict(hparams.to_dict()) == hparams
    for wrong in ((2, 1), (1, 1), (0, 1)):
        with pytest.raises(ValueError, match="calibration_edits must be ascending"):
            dataclasses.replace(HPARAMS, calibration_edits=wrong)


def test_steering_depends_on_the_target_in_two_released_modes(trained: Resources) -> None:
    editor: Any = RecipeEditor(tiny_llama(), HPARAMS, trained)
    by_prompt = [editor.steers_by_prompt]
    modes: tuple[tuple[LanguageModel, dict[str, Any]], ...] = (
        (tiny_llama(), {"positions": "code"}),  # rotary: only distances count
        (tiny_llama(), {"inject": "gptj_ln1"}),
        (tiny_gpt2(), {"positions": "shifted"}),
        (tiny_gpt2(), {"positions": "code"}),
    )
    for lm, changes in modes:
        editor.lm, editor.hparams = lm, dataclasses.replace(HPARAMS, **changes)
        by_prompt.append(editor.steers_by_prompt)
    assert by_prompt == [True, True, False, True, False]


def test_the_injection_of_gptj_is_refused_elsewhere(trained: Resources, tmp_path: Path) -> None:
    leaking = dataclasses.replace(HPARAMS, inject="gptj_ln1")
    with pytest.raises(ValueError, match="into GPT-J, got a llama backbone"):
        RecipeEditor(tiny_llama(), leaking, trained)
    with pytest.raises(ValueError, match="into GPT-J, got a gpt2 backbone"):
        RecipeEditor.fit(tiny_gpt2(), {"zsre": samples()}, leaking, trained, out=tmp_path)
