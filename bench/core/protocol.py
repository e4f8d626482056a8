"""The id of a protocol: which data, done and asked how, by which version of the definitions.

`zsre/blocks/v1` is `{data set}/{protocol}/v{version}`; what departs from the protocol's usual way
stands behind its name, as in `zsre/blocks+context_guided/v1`. A number means what its id says, so
this is the one place that decides what may share a column, a mean, a test or a figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

_PART, _DEPARTURE = "/", "+"


class Named(Protocol):
    """Whatever follows a protocol."""

    @property
    def protocol_id(self) -> str: ...


NamedT = TypeVar("NamedT", bound=Named)


def protocol_id(dataset: str, protocol: str, version: int, *departures: str) -> str:
    """`zsre/blocks+context_guided/v1` of its parts."""
    name = _DEPARTURE.join((protocol, *departures))
    return _PART.join((dataset, name, f"v{version}"))


def departures(found: Mapping[str, object], usual: Mapping[str, object]) -> tuple[str, ...]:
    """`name=value` of what is not as usual, in the order of `usual`."""
    return tuple(f"{name}={found[name]}" for name in usual if found[name] != usual[name])


def way_of(one: str) -> str:
    """The id without its data set: columns of one table share it, whatever their data."""
    return one.partition(_PART)[2]


def follows(one: str, wanted: str) -> bool:
    """Whether an id is the wanted one, or where no data set is named, of the wanted way."""
    return wanted in (one, way_of(one))


def of_protocol(found: Iterable[NamedT], wanted: str) -> list[NamedT]:
    """Those that follow the wanted protocol.

    Raises:
        ValueError: none do; the protocols that there are, are named.
    """
    there = list(found)
    chosen = [one for one in there if follows(one.protocol_id, wanted)]
    if not chosen:
        raise ValueError(
            f"No record follows the protocol {wanted!r}. Available: "
            f"{', '.join(sorted({one.protocol_id for one in there})) or 'none'}."
        )
    return chosen


def check_one_way(found: Iterable[Named]) -> None:
    """Refuse what was not done and asked in one way.

    Raises:
        ValueError: which protocols were found, and how to choose one.
    """
    there = list(dict.fromkeys(one.protocol_id for one in found))
    ways = list(dict.fromkeys(map(way_of, there)))
    if len(ways) > 1:
        raise ValueError(
            f"These records follow {len(ways)} protocols, which never share a column: "
            f"{', '.join(sorted(there))}; choose one with --protocol, such as "
            f"--protocol {min(ways)}."
        )


def joined(found: Iterable[Named]) -> str:
    """The id of a number over several data sets: `zsre+counterfact/blocks/v1`.

    Raises:
        ValueError: they are of several ways.
    """
    there = list(found)
    check_one_way(there)
    ids = list(dict.fromkeys(one.protocol_id for one in there))
    datasets = dict.fromkeys(one.partition(_PART)[0] for one in ids)
    return _PART.join((_DEPARTURE.join(datasets), way_of(ids[0])))
