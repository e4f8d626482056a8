from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from editors.parts.rase.memory import EditMemory, Remembered


def edit(fact: str, value: float) -> Remembered:
    widths = {"key": 2, "sentence": 2, "left": 3, "right": 4}
    return Remembered(fact, **{name: torch.full((n,), value) for name, n in widths.items()})


def test_a_later_edit_of_a_fact_takes_the_earlier_ones_place() -> None:
    memory = EditMemory()
    for fact, value in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        memory.put(edit(fact, value))
    assert memory.facts == ["a", "b"]
    for name in ("key", "sentence", "left", "right"):
        assert memory[name][:, 0].tolist() == [3.0, 2.0]


def test_the_state_goes_through_a_file_and_continues(tmp_path: Path) -> None:
    memory, other = EditMemory(), EditMemory()
    memory.put(edit("Żółw || is", 1.0))
    save_file(memory.state_dict(), tmp_path / "state.safetensors")
    other.put(edit("c", 9.0))
    other.load_state_dict(load_file(tmp_path / "state.safetensors"), device=torch.device("cpu"))
    for one in (memory, other):
        one.put(edit("b", 2.0))
    assert other.facts == ["Żółw || is", "b"]
    assert torch.equal(other["left"], memory["left"])


def test_an_empty_memory_has_an_empty_state() -> None:
    memory = EditMemory()
    memory.put(edit("a", 1.0))
    memory.clear()
    assert memory.state_dict() == {}
    memory.put(edit("a", 1.0))
    memory.load_state_dict({}, device=torch.device("cpu"))
    assert len(memory) == 0
