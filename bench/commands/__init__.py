"""Sub-commands of `python -m bench`: one module each, imported when it is called for."""
