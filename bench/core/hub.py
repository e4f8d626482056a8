"""Files of the model hub, fetched only where a user asked for a hub model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ROBERTA_BASE = "FacebookAI/roberta-base"  # the paper's sentence encoder


def snapshot(repository: str, patterns: Sequence[str], *, option: str) -> Path:
    """Local snapshot of a hub repository, from the hub's cache or downloaded.

    Args:
        repository: `owner/name`.
        patterns: the files to fetch; never pickles.
        option: the command-line option that takes a local copy instead.

    Raises:
        OSError: it cannot be had.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except Exception as error:  # the hub client raises many kinds: offline, gated, http, no cache
        raise OSError(
            f"Cannot get {repository} from the hub ({type(error).__name__}); check the network "
            f"and the access rights, or give the path of a local copy with {option}."
        ) from error
