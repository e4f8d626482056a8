"""Where the world's files are: shipped assets, and those of other seeds in the cache.

The default seed's weights travel with the package; edit sets and corpus text are generated on
first use. Everything is written under a temporary name and renamed, so no reader sees half of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.core.files import check_model, check_sealed, seal
from bench.core.names import CONTROL
from bench.world.world import DEFAULT_SEED
from editors.parts.checks import check_file_name

DATA_VERSION = 3  # of the generated files; a change of the generator changes it
ASSETS = Path(__file__).parent / "assets"


class NotBuiltError(FileNotFoundError):
    """A model of a world that is not shipped, and has not been built here."""


def cache_root() -> Path:
    """`$LIFELONG_EDIT_BENCH_CACHE`, or a folder of the user's cache directory."""
    chosen = os.environ.get("LIFELONG_EDIT_BENCH_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lifelong-edit-bench"


def assets_dir(seed: int = DEFAULT_SEED, model: str = "") -> Path:
    """Weights and tokenizers of one world: shipped for the default seed, cached for others.

    The control `model`, and what is trained for it, is never shipped.
    """
    shipped = seed == DEFAULT_SEED and model != CONTROL
    return ASSETS if shipped else cache_root() / f"world-{seed}" / "assets"


def variants_dir(seed: int = DEFAULT_SEED) -> Path:
    """Trained weights of variants of editors, a folder each; none of them are shipped."""
    return cache_root() / f"world-{seed}" / "variants"


def require_assets(seed: int, name: str) -> Path:
    """The directory of one shipped or built model.

    Raises:
        NotBuiltError: not built yet, with the command that builds it.
        DamagedFileError: its files are not those of the manifest.
        ValueError: a name that is no file name.
    """
    path = assets_dir(seed, name) / check_file_name("model", name)
    if not (path / "model.safetensors").exists():
        raise NotBuiltError(
            f"{name} of world {seed} is not built: {path} is missing. "
            f"Build it with `python -m bench world build --seed {seed} --models {name}`."
        )
    shipped = path.is_relative_to(ASSETS)
    remedy = "Install the package again." if shipped else "Remove the folder and build it again."
    check_model(path, remedy)
    return path


def data_dir(seed: int = DEFAULT_SEED) -> Path:
    """Directory of the world's edit sets, ability sets and corpus text: written once, verified."""
    path = _data_path(seed)
    if not path.is_dir():
        from bench.core.progress import show_busy
        from bench.world.files import write_all  # heavy, and needed once per machine

        def fill(part: Path) -> None:
            write_all(seed, part)
            seal(part)

        with show_busy(f"writing the data of world {seed}, once"):
            make_directory(path, fill)
    check_sealed(path, "Remove the folder, and it is written again.")
    return path


def written_data_dir(seed: int) -> Path | None:
    """The directory of `data_dir` if it is there already."""
    path = _data_path(seed)
    return path if path.is_dir() else None


def _data_path(seed: int) -> Path:
    return cache_root() / f"world-{seed}" / f"data-v{DATA_VERSION}"


def make_directory(path: Path, fill: Callable[[Path], None]) -> None:
    """Fill a temporary sibling and rename it to `path`; whoever is first wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=path.name, dir=path.parent))
    try:
        fill(part)
        part.chmod(0o755)
        part.rename(path)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
