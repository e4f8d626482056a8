"""The `import-weights` command: convert pickled weights to safetensors, no code is run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction

EXAMPLES = """examples:
  python -m bench import-weights path/to/model
      pytorch_model.bin, or all files of pytorch_model.bin.index.json, to safetensors beside them
  python -m bench import-weights path/to/model --out path/to/converted
      the same elsewhere, with configuration and tokenizer
  python -m bench import-weights weights.pt --out converted

Files are read by a separate process, tensors only: a file with anything else is refused, and
nothing in it is run. The old files stay.
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `import-weights`."""
    parser = subparsers.add_parser(
        "import-weights",
        help="convert pickled weights to safetensors, safely",
        description="Convert pickled weights (.bin, .pt, .pth, .ckpt) to safetensors, the only "
        "form that models are loaded from.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="FILE|DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: beside the old files")
    parser.set_defaults(func=import_weights)


def import_weights(args: argparse.Namespace) -> int:
    """Exit code 0 if all files are converted."""
    from bench.core.console import say
    from bench.core.progress import counted
    from bench.models.weights.convert import conversion_of, convert

    conversion = conversion_of(args.source, args.out)
    for path in counted(convert(conversion), "files", len(conversion.files)):
        say(f"written: {path}")
    return 0
