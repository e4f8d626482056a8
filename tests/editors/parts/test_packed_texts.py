from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from editors.parts.packed_texts import pack_texts, unpack_texts


@pytest.mark.parametrize("texts", [[], [""], ["a", "", "Żółć {}"], ["two\nlines", "\ufffd"]])
def test_texts_go_through_a_file(texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_file(pack_texts(texts, "facts"), path)
    assert unpack_texts(load_file(path), "facts") == texts


def test_bytes_are_counted_not_characters() -> None:
    packed = pack_texts(["é", "e"], "facts")
    assert packed["facts.bytes"].tolist() == [0xC3, 0xA9, 0x65]
    assert packed["facts.lengths"].tolist() == [2, 1]
