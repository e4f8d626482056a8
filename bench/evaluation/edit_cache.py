"""Edits that depend on the pristine model alone, made once for all numbers of edits and seeds."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.evaluation.cache_keys import cache_folder
from editors import registry

if TYPE_CHECKING:
    from torch import Tensor

    from editors.base import Editor, EditRequest, Hparams
    from editors.parts.language_model import LanguageModel

_SECONDS = "seconds"  # in a file's header: what making it took


class KeptEdits:
    """A file for each request; see `editors.base.Kept`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._saved = 0.0
        self._missed = 0.0  # when the last request was not found

    def get(self, request: EditRequest) -> dict[str, Tensor] | None:
        """See `editors.base.Kept`; a file that is not as it was written is as good as none."""
        from bench.core.checksums import read_sealed

        try:
            found, facts = read_sealed(self._path(request))
            self._saved += float(facts[_SECONDS])
        except (OSError, KeyError, ValueError):
            self._missed = time.perf_counter()
            return None
        return found

    def put(self, request: EditRequest, made: Mapping[str, Tensor]) -> None:
        """See `editors.base.Kept`; where nothing can be written, nothing is kept."""
        from bench.core.checksums import write_sealed

        seconds = time.perf_counter() - self._missed
        try:
            write_sealed(self._path(request), made, {_SECONDS: repr(seconds)})
        except OSError:
            return

    def take_saved(self) -> float:
        """Seconds that making took what was found since the last call of this."""
        seconds, self._saved = self._saved, 0.0
        return seconds

    def _path(self, request: EditRequest) -> Path:
        digest = hashlib.sha256(json.dumps(asdict(request)).encode()).hexdigest()
        return self.directory / f"{digest[:32]}.safetensors"


def saved_seconds(editor: Editor[Any]) -> float:
    """Seconds that making took what this editor found instead, since the last call of this."""
    kept = editor.resources.kept
    return 0.0 if kept is None else kept.take_saved()


def kept_edits(
    lm: LanguageModel, editor: str, hparams: Hparams, inputs: Mapping[str, str]
) -> KeptEdits | None:
    """The kept edits of an editor on a pristine model.

    None for an editor whose edits depend on more, and for weights without a digest.

    Args:
        lm: the model.
        editor: key.
        hparams: of the editor.
        inputs: digests of its sources, of which the covariance's and the templates' count.
    """
    cls = registry.editor_class(editor)
    if not cls.kept_by or not lm.digest:
        return None
    values = hparams.to_dict()
    hparams_in_use = {name: values[name] for name in sorted(cls.kept_by)}
    read = {name: inputs[name] for name in ("corpus", "templates") if name in inputs}
    depends = [editor, cls.version, hparams_in_use, read, registry.source_of(editor)]
    return KeptEdits(cache_folder("kept-edits", lm, depends))
