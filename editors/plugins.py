"""Users' own Python code: a file that they name, or an entry point of an installed distribution.

It runs because the user named the file, or installed the package. Whatever goes wrong in it is
reported in one sentence, with the code's own message and line. Data sets of a user's own use this
module as editors do.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

ClassT = TypeVar("ClassT")


class OwnCodeError(ValueError):
    """A user's file or entry point that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """A named file after it was run."""

    path: Path  # absolute
    digest: str  # sha256 of what was run
    module: ModuleType


def digest_at(path: Path) -> str:
    """sha256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_file(path: Path, *, kind: str) -> ReadFile:
    """Run a file as a module of its own and return it.

    `kind` is what the file should define, for error sentences: `editor`, `data set`.

    Raises:
        FileNotFoundError: no such file.
        OwnCodeError: a file name that is no Python name, or code that raises.
    """
    path = path.expanduser().absolute()
    if not path.is_file():
        raise FileNotFoundError(f"No {kind} at {path}: there is no such file.")
    if not path.stem.isidentifier():
        raise OwnCodeError(
            f"{path.name} gives its {kind} no name: letters, digits and underscores are wanted, "
            f"got {path.stem!r}."
        )
    content = path.read_bytes()
    module = ModuleType(f"own_{kind.replace(' ', '_')}_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look for it
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)  # noqa: S102 - the user's wish
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise OwnCodeError(f"{path.name} cannot be run: {_reason(error, path)}.") from error
    return ReadFile(path=path, digest=hashlib.sha256(content).hexdigest(), module=module)


def only_class(module: ModuleType, base: type[ClassT], *, place: str, kind: str) -> type[ClassT]:
    """The only concrete class of a module that derives from `base`.

    Raises:
        OwnCodeError: there is none, or there are several.
    """
    derived = [
        cls
        for cls in dict.fromkeys(filter(inspect.isclass, vars(module).values()))  # aliases once
        if issubclass(cls, base) and cls.__module__ == module.__name__
    ]
    concrete = [cls for cls in derived if not inspect.isabstract(cls)]
    if len(concrete) == 1:
        return concrete[0]
    wanted = f"one class that derives from {base.__module__}.{base.__name__} is wanted"
    if concrete:
        names = ", ".join(cls.__name__ for cls in concrete)
        raise OwnCodeError(f"{place} defines {len(concrete)} {kind}s, {names}: {wanted}.")
    if derived:
        lacks = ", ".join(sorted(getattr(derived[-1], "__abstractmethods__", ())))
        raise OwnCodeError(f"{place} defines no {kind}: {derived[-1].__name__} lacks {lacks}.")
    raise OwnCodeError(f"{place} defines no {kind}: {wanted}.")


def file_of(point: metadata.EntryPoint) -> Path:
    """The file of the module that an entry point names; packages around it are imported.

    Raises:
        OwnCodeError: there is none.
    """
    try:
        spec = util.find_spec(point.module)
    except Exception as error:  # whatever an imported package raises
        raise OwnCodeError(
            f"{described(point)} cannot be found: {_reason(error, None)}."
        ) from error
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise OwnCodeError(f"{described(point)} cannot be found: no module {point.module!r}.")
    return Path(spec.origin)


def class_at(point: metadata.EntryPoint, base: type[ClassT], *, kind: str) -> type[ClassT]:
    """The class that an entry point names, or the only one of the module that it names.

    Raises:
        OwnCodeError: it cannot be imported, or is no such class.
    """
    path, place = file_of(point), described(point)
    try:
        loaded: Any = point.load()
    except (Exception, SystemExit) as error:
        raise OwnCodeError(f"{place} cannot be imported: {_reason(error, path)}.") from error
    if not point.attr:
        return only_class(loaded, base, place=place, kind=kind)
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise OwnCodeError(
            f"{place} is no class that derives from {base.__module__}.{base.__name__}."
        )
    return loaded


def digest_of(point: metadata.EntryPoint) -> str:
    """sha256 over the sources of the package that an entry point's module is in, or of the module.

    Raises:
        OwnCodeError: they are not there.
    """
    path = file_of(point)
    spec = util.find_spec(point.module.partition(".")[0])
    folders = (spec.submodule_search_locations if spec is not None else None) or ()
    whole = hashlib.sha256()
    for folder in folders:
        for source in sorted(Path(folder).rglob("*.py")):
            name = source.relative_to(folder).as_posix()
            whole.update(f"{name}\0{digest_at(source)}\n".encode())
    return whole.hexdigest() if folders else digest_at(path)


def described(point: metadata.EntryPoint) -> str:
    """An entry point in error sentences."""
    by = "" if point.dist is None else f" of {point.dist.name}"
    return f"The entry point {point.name!r}{by} ({point.value})"


def check_free(names: set[str], taken: set[str], *, place: str, kind: str) -> None:
    """Refuse names, in lower case, that another editor or data set has.

    Raises:
        OwnCodeError: with the first of them.
    """
    if clashing := sorted(names & taken):
        raise OwnCodeError(
            f"{place} calls its {kind} {clashing[0]!r}, as another {kind} is called; give it "
            "another name, label or alias."
        )


def _reason(error: BaseException, path: Path | None) -> str:
    """An error's kind and message, and the line of the file that it comes from."""
    if isinstance(error, SyntaxError):
        message, line = error.msg, error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if path and frame.filename == str(path)]
        message, line = str(error).rstrip("."), lines[-1] if lines else None
    where = "" if line is None else f" (line {line})"
    return f"{type(error).__name__}: {' '.join(message.split())}{where}"
