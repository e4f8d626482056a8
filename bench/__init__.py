"""The benchmark driver: data sets, metrics, records, tables; run as `python -m bench`.

In Python: `bench.run(..)`, `bench.table(..)` and `bench.records(..)` give data frames,
`bench.open_editor(..)` an editor to use by hand, and a `bench.RunConfig` holds all options of a
run. They are imported when they are used, so that `import bench` costs nothing.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from editors.parts.moved import MovedModules

if TYPE_CHECKING:
    from bench.api import open_editor, records, run, table
    from bench.core.config import RunConfig

__version__ = "0.1.0"
__all__ = ["RunConfig", "__version__", "open_editor", "records", "run", "table"]

# Modules that code outside this package may import by the names they had at first.
MOVED = {
    "bench.backbones": "bench.models.backbones",
    "bench.check.compare": "bench.checks.regression.rerun",
    "bench.datasets.files": "bench.datasets.base",
    "bench.general_ability.lm_eval_model": "bench.evaluation.general_ability.lm_eval_harness",
    "bench.metrics": "bench.evaluation.metrics",
    "bench.probing": "bench.evaluation.inference",
    "bench.rows": "bench.evaluation.metrics",
    "bench.sealing": "bench.store.results",
    "bench.trying.requests": "bench.cli.conversation",
}
sys.meta_path.append(MovedModules(MOVED))


def __getattr__(name: str) -> Any:
    if name in __all__:
        return vars(import_module("bench.api"))[name]
    raise AttributeError(f"module 'bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
