"""A user's own Python code: a file that was named, or what an entry point of a package names.

It runs because the user named the file, or installed the package. Whatever goes wrong in it is
worded in one sentence, with the code's own message and line.
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
    """A file or an entry point of the user's that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """A named file, run."""

    path: Path  # absolute
    digest: str  # sha256 of what was run
    module: ModuleType


def is_file_name(name: str) -> bool:
    """Whether a user's word names a Python file rather than something that is known by name."""
    return name.endswith(".py")


def digest_at(path: Path) -> str:
    """sha256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_file(path: Path, *, kind: str) -> ReadFile:
    """Run a file as a module of its own and return it.

    Args:
        path: of the file.
        kind: what the user takes it for, in error sentences: `editor`, `data set`.

    Raises:
        FileNotFoundError: no such file.
        OwnCodeError: a name that is no Python name, or code that raises.
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
        raise OwnCodeError(f"{path.name} cannot be run: {reason(error, path)}.") from error
    return ReadFile(path=path, digest=hashlib.sha256(content).hexdigest(), module=module)


def reason(error: BaseException, path: Path | None) -> str:
    """An error's kind and message, and the line of the file that it comes from."""
    if isinstance(error, SyntaxError):
        said, line = error.msg, error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if path and frame.filename == str(path)]
        said, line = str(error).rstrip("."), lines[-1] if lines else None
    where = "" if line is None else f" (line {line})"
    return f"{type(error).__name__}: {' '.join(said.split())}{where}"


def one_class(module: ModuleType, base: type[ClassT], *, place: str, kind: str) -> type[ClassT]:
    """The one class of a module that derives from `base` and is not abstract.

    Raises:
        OwnCodeError: there is none, or there are several.
    """
    classes = filter(inspect.isclass, vars(module).values())
    own = [
        cls
        for cls in dict.fromkeys(classes)  # one may have two names
        if issubclass(cls, base) and cls.__module__ == module.__name__
    ]
    found = [cls for cls in own if not inspect.isabstract(cls)]
    if len(found) == 1:
        return found[0]
    wanted = f"one class that derives from {base.__module__}.{base.__name__} is wanted"
    if found:
        names = ", ".join(cls.__name__ for cls in found)
        raise OwnCodeError(f"{place} defines {len(found)} {kind}s, {names}: {wanted}.")
    if own:
        lacks = ", ".join(sorted(getattr(own[-1], "__abstractmethods__", ())))
        raise OwnCodeError(f"{place} defines no {kind}: {own[-1].__name__} lacks {lacks}.")
    raise OwnCodeError(f"{place} defines no {kind}: {wanted}.")


def entry_points(group: str) -> dict[str, metadata.EntryPoint]:
    """Entry points of the installed distributions, by name; the first of equal names."""
    found: dict[str, metadata.EntryPoint] = {}
    for one in metadata.entry_points(group=group):
        found.setdefault(one.name, one)
    return found


def file_of(entry: metadata.EntryPoint) -> Path:
    """The file of the module that an entry point names; packages around it are imported.

    Raises:
        OwnCodeError: there is none.
    """
    try:
        spec = util.find_spec(entry.module)
    except Exception as error:  # whatever a package raises that is imported
        raise OwnCodeError(f"{described(entry)} cannot be found: {reason(error, None)}.") from error
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise OwnCodeError(f"{described(entry)} cannot be found: no module {entry.module!r}.")
    return Path(spec.origin)


def loaded(entry: metadata.EntryPoint) -> Any:
    """What an entry point names: a class, or a module.

    Raises:
        OwnCodeError: it cannot be imported.
    """
    path = file_of(entry)
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        raise OwnCodeError(
            f"{described(entry)} cannot be imported: {reason(error, path)}."
        ) from error


def digest_of(entry: metadata.EntryPoint) -> str:
    """sha256 over the sources of the package that an entry point's module is in, or of the module.

    Raises:
        OwnCodeError: they are not there.
    """
    path = file_of(entry)
    spec = util.find_spec(entry.module.partition(".")[0])
    folders = (spec.submodule_search_locations if spec is not None else None) or ()
    whole = hashlib.sha256()
    for folder in folders:
        for source in sorted(Path(folder).rglob("*.py")):
            name = source.relative_to(folder).as_posix()
            whole.update(f"{name}\0{digest_at(source)}\n".encode())
    return whole.hexdigest() if folders else digest_at(path)


def described(entry: metadata.EntryPoint) -> str:
    """What sentences call an entry point."""
    by = "" if entry.dist is None else f" of {entry.dist.name}"
    return f"The entry point {entry.name!r}{by} ({entry.value})"
