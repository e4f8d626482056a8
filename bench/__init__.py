"""The benchmark driver: data sets, metrics, records, tables; run as `python -m bench`.

In Python: `bench.run(..)`, `bench.table(..)` and `bench.records(..)` give data frames, and a
`bench.RunConfig` holds all options of a run. They are imported when they are used, so that
`import bench` costs nothing.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from editors.parts.moved import MovedModules

if TYPE_CHECKING:
    from bench.api import records, run, table
    from bench.core.config import RunConfig

__version__ = "0.1.0"
__all__ = ["RunConfig", "__version__", "records", "run", "table"]

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
    if name in {"RunConfig", "records", "run", "table"}:
        return vars(import_module("bench.api"))[name]
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
