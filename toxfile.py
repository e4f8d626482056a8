"""A tox runner whose environments may share one `env_dir`.

tox records an environment's name in its directory and recreates the directory for another one;
with torch inside, that costs minutes for each of lint, type, py and parity.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tox.plugin import impl
from tox.tox_env.api import ToxEnv
from tox.tox_env.info import Info
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from tox.tox_env.register import ToxEnvRegister


class NamelessInfo(Info):
    """What tox knows about a directory, without the name of the environment that created it."""

    @contextmanager
    def compare(
        self, value: Any, section: str, sub_section: str | None = None
    ) -> Iterator[tuple[bool, Any | None]]:
        """As in tox, with the same name for every environment."""
        if section == ToxEnv.__name__:
            value = {**value, "name": "any"}
        with super().compare(value, section, sub_section) as result:
            yield result


class OneEnvironment(VirtualEnvRunner):
    """A virtual environment that every tox environment with the same `env_dir` reuses."""

    @staticmethod
    def id() -> str:
        return "one-environment"

    @property
    def cache(self) -> Info:
        return NamelessInfo(self.env_dir)


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Register the runner for tox.ini."""
    register.add_run_env(OneEnvironment)
