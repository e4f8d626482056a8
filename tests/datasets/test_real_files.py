"""The published files themselves, or parts of them, where `EDIT_BENCH_DATA` says they are."""

from collections import Counter
from pathlib import Path

import pytest

from bench.core.names import DATASETS
from bench.datasets import SPLITS, Split, get_dataset
from bench.datasets.download import verify


def test_every_row_of_every_file_is_read(data_dir: Path) -> None:
    findings = list(verify(map(get_dataset, DATASETS), data_dir))
    assert [f.detail for f in findings if f.wrong] == []
    for finding in findings:
        assert finding.loaded is not None
        skipped = sum(n for reason, n in finding.loaded.skipped.items() if "row" in reason)
        assert len(finding.loaded.samples) + skipped == finding.loaded.rows


@pytest.mark.parametrize("split", SPLITS)
def test_counterfact_is_complete_and_the_published_one(split: Split, data_dir: Path) -> None:
    cf = get_dataset("cf")
    loaded = cf.load(split, data_dir)
    assert loaded.digest == cf.files[split].git_blob
    assert len(loaded.samples) == 10_000
    assert loaded.notes() == ()


def test_counterfacts_ceiling_below_100_is_as_documented(data_dir: Path) -> None:
    samples = get_dataset("cf").load("test", data_dir).samples
    targets: dict[str, set[str]] = {}
    for sample in samples:
        targets.setdefault(sample.request.prompt, set()).add(sample.request.target)
    times = Counter(sample.request.prompt for sample in samples)
    assert sum(len(targets[p]) > 1 for p, n in times.items() if n > 1) == 62
    assert sum(s.locality[0].prompt in targets for s in samples) == 214


def test_zsre_locality_prompts_have_their_prefix(data_dir: Path) -> None:
    samples = get_dataset("zsre").load("test", data_dir).samples
    assert all(s.locality[0].prompt.startswith("nq question: ") for s in samples)
    assert not any(s.request.target.startswith(" ") for s in samples)
