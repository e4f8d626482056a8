"""Edits that are made once are the same when they are found again, and count as long."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, tiny_llama
from bench.evaluation.caches import CachedEdits, cached_edits
from editors.base import EditRequest
from editors.parts.language_model import LanguageModel
from editors.r_rome import RRomeHparams
from editors.registry import hparams_for

MADE = {"left": torch.tensor([1.0, 1e-30]), "right": torch.tensor([2.0])}
INPUTS = {"corpus": "c", "templates": "t", "encoder": "e", "artefact": "a"}


def test_what_was_put_is_found_to_the_bit(tmp_path: Path) -> None:
    kept = CachedEdits(tmp_path)
    assert kept.get(REQUESTS[0]) is None
    kept.put(REQUESTS[0], MADE)
    found = CachedEdits(tmp_path).get(REQUESTS[0])
    assert found is not None
    assert all(torch.equal(found[name], MADE[name]) for name in MADE)
    other = dataclasses.replace(REQUESTS[0], subject="the capital")
    assert kept.get(other) is None


def test_a_found_edit_counts_the_seconds_of_its_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([10.0, 12.5])
    monkeypatch.setattr("bench.evaluation.caches.time.perf_counter", lambda: next(ticks))
    kept = CachedEdits(tmp_path)
    kept.get(REQUESTS[0])
    kept.put(REQUESTS[0], MADE)
    assert kept.take_saved() == 0.0
    kept.get(REQUESTS[0])
    assert kept.take_saved() == 2.5
    assert kept.take_saved() == 0.0


def test_a_broken_file_is_made_anew(tmp_path: Path) -> None:
    kept = CachedEdits(tmp_path)
    kept.get(REQUESTS[0])
    kept.put(REQUESTS[0], MADE)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for broken in (content[:-4], content[:-1] + bytes([content[-1] ^ 1])):
        file.write_bytes(broken)
        assert kept.get(REQUESTS[0]) is None


def place(lm: LanguageModel, hparams: RRomeHparams, inputs: dict[str, str]) -> Path:
    found = cached_edits(lm, "r_rome", hparams, inputs)
    assert found is not None
    return found.directory


def test_what_an_edit_depends_on_has_a_place_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tiny_llama()
    lm, other = (LanguageModel(bare.model, bare.tokenizer, digest=d) for d in "ab")
    hparams = hparams_for("r_rome", "tiny")
    assert isinstance(hparams, RRomeHparams)
    first = place(lm, hparams, INPUTS)
    assert place(lm, hparams, {**INPUTS, "artefact": "b", "encoder": "b"}) == first
    assert place(lm, dataclasses.replace(hparams, gate="published"), INPUTS) == first
    places = {
        first,
        place(other, hparams, INPUTS),
        place(lm, dataclasses.replace(hparams, v_lr=0.25), INPUTS),
        place(lm, hparams, {**INPUTS, "corpus": "d"}),
    }
    monkeypatch.setattr("bench.evaluation.caches.CODE", "other")
    assert len({*places, place(lm, hparams, INPUTS)}) == 5


def test_only_edits_that_depend_on_nothing_else_are_kept() -> None:
    bare = tiny_llama()
    lm = LanguageModel(bare.model, bare.tokenizer, digest="a")
    assert cached_edits(lm, "rome", hparams_for("rome", "default"), INPUTS) is None
    assert cached_edits(bare, "r_rome", hparams_for("r_rome", "tiny"), INPUTS) is None


def test_requests_differ_in_every_field(tmp_path: Path) -> None:
    kept = CachedEdits(tmp_path)
    one = EditRequest(prompt="a", target="b", subject="c")
    paths = {kept._path(dataclasses.replace(one, **{f: "z"})) for f in vars(one)}
    assert len({kept._path(one), *paths}) == 4
