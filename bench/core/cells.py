"""Cells: everything that one number of a table depends on, its key, and the protocol it follows.

The id of a protocol, such as `zsre/blocks/v1`, is `{data set}/{protocol}/v{version}`; what departs
from the protocol's usual way stands after its name, as in `zsre/blocks+context_guided/v1`. A number
means what its id says, so this is the only place that decides what may share a column, a mean, a
test or a figure.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeVar

from bench.core.names import row_order
from bench.core.numerics import draw

Generation = Literal["none", "context_free", "context_guided"]
# What a seed changes: which samples are edited and in which order, or the training of editors that
# have weights of their own.
Varies = Literal["order", "training", "both"]

# What the id of a protocol leaves out. Scores that are not generated do not depend on whether
# others are, so that both ways of the bare prompt are usual.
_USUAL = {"scoring_time": "block_end", "batch_per_step": 1, "varies": "order"}
_GUIDED: Generation = "context_guided"
_PART, _DEPARTURE = "/", "+"

_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


@dataclass(frozen=True, kw_only=True)
class Identity(ABC):
    """The identity of one result. Two runs with equal identities must end in equal numbers.

    Digests stand for contents; paths, machines, processes and the time are provenance instead.
    Each kind of record has a subclass with a `kind`, which its JSON carries.
    """

    kind: ClassVar[str | None]  # None: records of Tables 1, 5 and 6, which were there first

    backbone: str
    backbone_digest: str
    dtype: str

    @abstractmethod
    def describe(self) -> str:
        """A short human name, for progress and messages."""

    @property
    @abstractmethod
    def protocol_id(self) -> str:
        """What its numbers mean."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The identity of a record; `to_dict` of it gives equal values."""
        return cls(**{name: value for name, value in values.items() if name != "kind"})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, one per field, and the kind where there is one."""
        kind = {} if self.kind is None else {"kind": self.kind}
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return kind | values

    def key(self) -> str:
        """sha256 of the canonical JSON, in hexadecimal."""
        return self._key

    @cached_property
    def _key(self) -> str:
        return hashlib.sha256(canonical(self.to_dict()).encode()).hexdigest()


IdentityT = TypeVar("IdentityT", bound=Identity)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Cell(Identity):
    """One editing result: reliability, generality and locality after n edits of one data set."""

    kind: ClassVar[None] = None

    dataset: str
    dataset_revision: str
    dataset_digest: str
    editor: str
    editor_version: int
    hparams: Mapping[str, Any]  # plain JSON values
    inputs: Mapping[str, str]  # name -> digest of what the editor reads beside the model
    n_edits: int
    batch_per_step: int = 1  # requests per call of `edit`
    seed: int
    varies: Varies = "order"  # what a seed changes
    limit: int | None  # samples drawn; None draws the whole test split
    # Which of the disjoint parts of one shuffle is drawn; None: the start of the seed's own
    # shuffle, and the JSON has no such field. For seed 0 the two are the same.
    part: int | None = None
    protocol: Literal["blocks"] = "blocks"
    scoring_time: Literal["block_end"] = "block_end"
    metric_version: int
    generation: Generation
    # Optional metric sets: name -> version and what else their numbers depend on. A cell without
    # any leaves the field out of its JSON, so that its key is that of earlier records.
    measures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hparams", plain(self.hparams))
        object.__setattr__(self, "inputs", plain(self.inputs))
        object.__setattr__(self, "measures", plain(self.measures))
        check_counts(n_edits=self.n_edits, limit=self.limit, seed=self.seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, one per field; a part and metric sets only where there are some."""
        absent = {"part": self.part is None, "measures": not self.measures}
        return {name: v for name, v in super().to_dict().items() if not absent.get(name)}

    def drawn(self, samples: Sequence[T]) -> list[T]:
        """The cell's samples of the test split, in their order."""
        seed = 0 if self.varies == "training" else self.seed
        return draw(samples, seed=seed, limit=self.limit, part=self.part)

    @property
    def protocol_id(self) -> str:
        unusual = departures(vars(self), _USUAL)
        guided = (_GUIDED,) if self.generation == _GUIDED else ()
        return protocol_id(self.dataset, self.protocol, self.metric_version, *unusual, *guided)

    def describe(self) -> str:
        edits = "edit" if self.n_edits == 1 else "edits"
        beside = f", with {', '.join(self.measures)}" if self.measures else ""
        return (
            f"{self.editor} on {self.dataset}, {self.n_edits} {edits}, "
            f"{self.backbone}, seed {self.seed}{beside}"
        )


class CellKey(NamedTuple):
    """The names by which a reader knows a cell, whatever its versions, digests and settings."""

    backbone: str
    editor: str | None  # None: the unedited model
    dataset: str | None
    n_edits: int | None
    seed: int | None

    @classmethod
    def of(cls, cell: Mapping[str, Any]) -> CellKey:
        """The names in the `cell` of a record of any kind."""
        stream = stream_of(cell)
        return cls(cell["backbone"], *(stream.get(name) for name in cls._fields[1:]))

    @property
    def order(self) -> tuple[object, ...]:
        """What cells of a table are sorted by: the unedited model, then edits, rows, columns."""
        if self.editor is None:
            return (0,)
        return 1, self.n_edits, row_order(self.editor, self.dataset or ""), self.seed


def but_for_seed(cell: Mapping[str, Any]) -> str:
    """The canonical JSON of a record's `cell` without what another seed changes."""

    def shared(values: Mapping[str, Any]) -> dict[str, Any]:
        own = {name: value for name, value in values.items() if name not in ("seed", "part")}
        if own.get("varies", "order") != "order":
            own["inputs"] = {k: v for k, v in own["inputs"].items() if k != "artefact"}
        return own

    edits = cell.get("edits")
    return canonical(shared(cell) | ({"edits": shared(edits)} if edits else {}))


def stream_of(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """The edits of a record's `cell`: a part of it in general ability, else the cell itself.

    Nothing where general ability is that of the unedited model.
    """
    return cell.get("edits", cell) or {}


def check_counts(*, n_edits: int, limit: int | None, seed: int) -> None:
    """Refuse counts that no run can have, with a ValueError."""
    if n_edits < 1:
        raise ValueError(f"The number of edits must be at least 1, got {n_edits}.")
    if seed < 0:
        raise ValueError(f"A seed must be at least 0, got {seed}.")
    if limit is not None and limit < n_edits:
        raise ValueError(
            f"The sample limit must be at least the number of edits, "
            f"got a limit of {limit} for {n_edits} edits."
        )


def canonical(value: Any) -> str:
    """JSON with sorted names, without white space, without NaN."""
    return _CANONICAL.encode(value)


def plain(value: Any) -> Any:
    """The plain JSON form of a value, so that what a record gives back is equal to it."""
    return json.loads(canonical(value))


def protocol_id(dataset: str, protocol: str, version: int, *departures: str) -> str:
    """`zsre/blocks+context_guided/v1` of its parts."""
    name = _DEPARTURE.join((protocol, *departures))
    return _PART.join((dataset, name, f"v{version}"))


def departures(actual: Mapping[str, object], usual: Mapping[str, object]) -> tuple[str, ...]:
    """`name=value` of what is not as usual, in the order of `usual`."""
    return tuple(f"{name}={actual[name]}" for name in usual if actual[name] != usual[name])


def way_of(identifier: str) -> str:
    """The id without its data set: columns of one table share it, whatever their data."""
    return identifier.partition(_PART)[2]


def of_protocol(cells: Iterable[IdentityT], wanted: str) -> list[IdentityT]:
    """Those that follow the wanted protocol, an id or one without its data set; never none."""
    cells = list(cells)
    chosen = [cell for cell in cells if wanted in (cell.protocol_id, way_of(cell.protocol_id))]
    if not chosen:
        raise ValueError(
            f"No record follows the protocol {wanted!r}. Available: "
            f"{', '.join(sorted({cell.protocol_id for cell in cells})) or 'none'}."
        )
    return chosen


def check_one_way(cells: Iterable[Identity]) -> None:
    """Refuse what does not follow one protocol, with a ValueError."""
    ids = list(dict.fromkeys(cell.protocol_id for cell in cells))
    ways = list(dict.fromkeys(map(way_of, ids)))
    if len(ways) > 1:
        raise ValueError(
            f"These records follow {len(ways)} protocols, which never share a column: "
            f"{', '.join(sorted(ids))}; choose one with --protocol, such as "
            f"--protocol {min(ways)}."
        )


def joined(cells: Iterable[Identity]) -> str:
    """The id of a number over several data sets of one protocol: `zsre+counterfact/blocks/v1`."""
    cells = list(cells)
    check_one_way(cells)
    ids = list(dict.fromkeys(cell.protocol_id for cell in cells))
    datasets = dict.fromkeys(identifier.partition(_PART)[0] for identifier in ids)
    return _PART.join((_DEPARTURE.join(datasets), way_of(ids[0])))
