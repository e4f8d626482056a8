from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.console import visible
from bench.report.pages import safe_json, script
from tests.report.hostile import TEXTS

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text())
def test_texts_stay_texts(text: str) -> None:
    written = safe_json([text])
    assert json.loads(written) == [visible(text)]
    assert not set(written) & set("<>&\u2028\u2029\u202e\x00")


@given(VALUES)
def test_any_value_can_stand_in_a_script(value: object) -> None:
    assert not set(safe_json(value)) & set("<>&\u2028\u2029")


@pytest.mark.parametrize("text", TEXTS)
def test_attacks_end_no_script(text: str) -> None:
    written = script("cells", {"title": text}).decode()
    assert written.startswith('report.cells({"title":"')
    assert written.endswith('"});\n')
    assert written.count("\n") == 1
    assert "<" not in written


def test_no_number_that_json_has_not() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        safe_json({"loss": float("nan")})
