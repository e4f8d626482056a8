"""The outcomes of the faults that the suite tried, by class."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_SHOWN = 12  # stories in a failure


class SilentError(AssertionError):
    """A fault that changed a result without any message."""


@dataclass
class Count:
    """Of one class of faults."""

    tried: int = 0
    lost: list[str] = field(default_factory=list)  # the stories
    silent: list[str] = field(default_factory=list)
    _settled: list[int] = field(default_factory=lambda: [0, 0, 0])  # of each, by earlier tests

    @property
    def survived(self) -> int:
        return self.tried - len(self.lost) - len(self.silent)

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Count one fault by how the block ends; the next fault is tried in any case."""
        self.tried += 1
        with self.checking(what):
            yield

    @contextmanager
    def checking(self, what: str) -> Iterator[None]:
        """As `trying`, of the consequences of earlier faults."""
        try:
            yield
        except SilentError as error:
            self.silent.append(f"{what}: {error}")
        except Exception:  # noqa: BLE001 - a fault may lead to any
            self.lost.append(f"{what}:\n{traceback.format_exc()}")

    def line(self, name: str) -> str:
        return (
            f"{name:<12} {self.tried:>5} tried, {self.survived:>5} survived, "
            f"{len(self.lost)} lost (must be 0), {len(self.silent)} silent (must be 0)"
        )

    def settle(self, tries: int) -> None:
        """Fail where something was lost or silent since the last call, or fewer faults tried."""
        tried, lost, silent = self._settled
        self._settled = [self.tried, len(self.lost), len(self.silent)]
        stories = [*self.lost[lost:][:_SHOWN], *self.silent[silent:][:_SHOWN]]
        assert not stories, "\n".join(stories)
        assert self.tried - tried >= tries, f"wanted {tries} tries, got {self.tried - tried}"
