import subprocess
import sys

import pytest

from bench.datasets import available, get_dataset


def test_available_lists_the_three_sets_by_module_name() -> None:
    assert available() == ("counterfact", "ripple_edits", "zsre")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("zsre", "zsre"),
        ("ZSRE", "zsre"),
        ("counterfact", "counterfact"),
        ("CF", "counterfact"),
        ("cf", "counterfact"),
        ("ripple_edits", "ripple_edits"),
        ("RIPE", "ripple_edits"),
        (" ripe ", "ripple_edits"),
    ],
)
def test_key_label_and_alias_name_a_set(name: str, key: str) -> None:
    assert get_dataset(name).key == key


@pytest.mark.parametrize(("name", "hint"), [("zrse", "mean 'zsre'"), ("wikidata5m", "Available")])
def test_an_unknown_name_suggests_the_nearest_if_it_is_near(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"Unknown data set '{name}'.*{hint}"):
        get_dataset(name)


@pytest.mark.parametrize("key", available())
def test_declared_metadata_is_complete(key: str) -> None:
    dataset = get_dataset(key)
    texts = (dataset.label, dataset.title, dataset.source, dataset.licence, dataset.citation)
    assert all(texts)
    assert len(dataset.revision) == 40
    assert set(dataset.files) == {"train", "test"}
    for file in dataset.files.values():
        assert len(file.git_blob) == 40
        assert file.rows > 0


def test_no_two_sets_share_a_spelling() -> None:
    spellings = [name for key in available() for name in get_dataset(key).names]
    assert len(spellings) == len(set(spellings))


def test_data_sets_are_listed_without_loading_torch() -> None:
    code = "import sys; from bench.datasets import available; available(); print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "bench.datasets.zsre" in modules
    assert "torch" not in modules
