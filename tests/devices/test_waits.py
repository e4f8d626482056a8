"""The host waits for a GPU where it must decide something, and not at every step."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.checks.contract.tiny import REQUESTS, TUNING, Subject
from tests.devices.on_gpu import tiny_models_on_gpu

# Whether to go on depends on the loss in FT, ROME and MEMIT: one read at each step.
_READS = {"ft": 1, "rome": 1, "memit": 1, "grace": 0, "t_patcher": 0}
_STEPS = {"rome": "v_num_grad_steps", "memit": "v_num_grad_steps", "grace": "n_iter"}
_FEW, _MANY = 5, 12


@pytest.mark.parametrize("key", _READS)
def test_a_further_step_of_an_edit_reads_no_more_than_it_must(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = {}
    for steps in (_FEW, _MANY):
        changes = {_STEPS.get(key, "num_steps"): steps}
        monkeypatch.setitem(TUNING, key, TUNING.get(key, {}) | changes)
        with tiny_models_on_gpu() as seen:
            (tmp_path / str(steps)).mkdir()
            subject = Subject(key=key, architecture="gptj", directory=tmp_path / str(steps))
            editor = subject.editor(stopping="never")
            seen.waits.clear()
            editor.edit(REQUESTS[:1])
        waits[steps] = seen.waits.total()
    assert waits[_MANY] - waits[_FEW] == _READS[key] * (_MANY - _FEW)
