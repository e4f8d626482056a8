"""The benchmark driver: data sets, metrics, records, tables; run as `python -m bench`.

In Python: `bench.run(..)`, `bench.table(..)` and `bench.records(..)` give data frames, and a
`bench.RunConfig` holds all options of a run. They are imported when they are used, so that
`import bench` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import records, run, table
    from bench.core.config import RunConfig

__version__ = "0.1.0"
__all__ = ["RunConfig", "__version__", "records", "run", "table"]


def __getattr__(name: str) -> Any:
    if name in {"RunConfig", "records", "run", "table"}:
        return vars(import_module("bench.api"))[name]
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
