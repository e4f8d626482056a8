"""Records to numbers to tables: one tidy frame, views of it, statistics, renderers.

`frame` gives the numbers of any records, one a row. `view` gives a table of the paper as its
numbers, averaged over seeds beside the published ones; `bench.tables.render` writes one as text.
"""

from bench.tables.table import MAIN, METRIC_OPTIONS, TextTable, View, view
from bench.tables.tidy import frame

__all__ = ["MAIN", "METRIC_OPTIONS", "TextTable", "View", "frame", "view"]
