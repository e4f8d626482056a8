from __future__ import annotations

from pathlib import Path

import pytest

from bench.evaluation.caches import CODE, ROOMS, digest_of_rooms


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in (("a/one.py", "1"), ("a/inner/two.py", "2"), ("b/three.py", "3")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_a_renamed_moved_added_or_changed_file_is_another_key(root: Path) -> None:
    seen = {digest_of_rooms(("a", "b"), root)}
    steps = (
        lambda: (root / "a/one.py").rename(root / "a/uno.py"),
        lambda: (root / "a/inner/two.py").rename(root / "a/two.py"),
        lambda: (root / "b/four.py").write_text("", encoding="utf-8"),
        lambda: (root / "b/four.py").write_text("4", encoding="utf-8"),
        (root / "a/two.py").unlink,
    )
    for step in steps:
        step()
        seen.add(digest_of_rooms(("a", "b"), root))
    assert len(seen) == 1 + len(steps)


def test_other_files_are_no_part_of_it(root: Path) -> None:
    before = digest_of_rooms(("a", "b"), root)
    (root / "a/readme.md").write_text("text", encoding="utf-8")
    assert digest_of_rooms(("a", "b"), root) == before


def test_an_empty_room_is_an_error(root: Path) -> None:
    (root / "c").mkdir()
    with pytest.raises(ValueError, match="No Python file"):
        digest_of_rooms(("a", "c"), root)


def test_the_key_covers_the_code_that_computes_results() -> None:
    assert digest_of_rooms(ROOMS) == CODE
    assert {"editors", "bench/evaluation", "bench/models"} <= set(ROOMS)
