"""Editors and data sets of a user's own, as files and as installed distributions, for tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
EDITOR, DATASET = EXAMPLES / "my_editor.py", EXAMPLES / "my_dataset.py"

SMALL = """
from dataclasses import dataclass
from editors.base import Hparams
from editors.parts.deltas import WeightEditor


@dataclass(frozen=True, kw_only=True)
class SmallHparams(Hparams):
    size: float = 1.0


class SmallEditor(WeightEditor[SmallHparams]):
    family = "MP"
    label = "Small"
    hparams_class = SmallHparams
    presets = {"default": SmallHparams()}

    def edit(self, requests):
        pass
"""


def write_editor(folder: Path, name: str = "small", source: str = SMALL) -> Path:
    """A file with an editor that does nothing."""
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    return path


def install(
    site: Path, monkeypatch: pytest.MonkeyPatch, entries: str, modules: dict[str, str]
) -> None:
    """Put a distribution with entry points and modules on the import path, without pip."""
    info = site / "tiny_editors-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-editors\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)
    for name, source in modules.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    forget_installed()


def forget_installed() -> None:
    """Forget entry points and their imported modules."""
    from bench import datasets
    from editors import registry

    for cached in (registry._installed, datasets._installed):
        cached.cache_clear()
    for name in [name for name in sys.modules if name.startswith("tiny_")]:
        del sys.modules[name]
