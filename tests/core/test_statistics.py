from __future__ import annotations

import pytest

from bench.core.numerics import spread


def test_sample_standard_deviation() -> None:
    found = spread([2.0, 4.0, 9.0])  # deviations -3, -1, 4: (9 + 1 + 16) / 2 = 13
    assert (found.mean, found.n) == (5.0, 3)
    assert found.std == pytest.approx(13**0.5)


def test_one_value_has_no_spread() -> None:
    assert spread([7.5]).std is None


def test_no_value_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        spread([])
