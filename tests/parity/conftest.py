from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.loading import COMPACT, full_directory


@pytest.fixture
def root(request: pytest.FixtureRequest) -> Path:
    """The directory of a case's numbers, by a parameter of `loading.on_cases`."""
    return COMPACT if request.param == "compact" else full_directory()
