"""Libraries that keep offline and silent, in processes that are this package's own."""

from __future__ import annotations

import os


def quiet_libraries() -> None:
    """Set what libraries read when they are first imported; a user's own settings hold."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")
