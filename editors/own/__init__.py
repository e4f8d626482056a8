"""Editors that are not of this package: named files, and installed distributions' entry points."""
