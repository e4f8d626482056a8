"""The benchmark driver: data sets, metrics, records, tables; run as `python -m bench`."""

__version__ = "0.1.0"
