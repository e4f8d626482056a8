"""What a record is of: a frozen identity with a canonical JSON text and a key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self


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
        """What its numbers mean; see `bench.core.protocol`."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The identity of a record; `to_dict` of it gives equal values."""
        return cls(**{name: value for name, value in values.items() if name != "kind"})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, one per field, and the kind where there is one."""
        kind = {} if self.kind is None else {"kind": self.kind}
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return kind | values

    def canonical(self) -> str:
        """The one JSON text of this identity: sorted names, no white space, no NaN."""
        return canonical(self.to_dict())

    def key(self) -> str:
        """sha256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted names, without white space, without NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def plain(value: Any) -> Any:
    """The plain JSON form of a value, so that what a record gives back is equal to it.

    Raises:
        ValueError: something that JSON cannot hold.
    """
    return json.loads(canonical(value))
