"""From words to values: readers, options, help, and the `RunConfig` of a command.

A reader only turns a word into a value; `RunConfig` and the plan refuse what no run can have.
Options that go into a `RunConfig` are stored under the names of its fields; the options themselves
are in `bench.cli.options`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.core.config import RunConfig, RunOptions
from bench.core.names import unknown_name
from bench.core.progress import show_busy
from bench.models.backbones import EMBEDDED, HUB_IDS, Backbone, check_device, load, locate

if TYPE_CHECKING:
    from editors.parts.language_model import LanguageModel

Group = argparse._ActionsContainer  # noqa: SLF001 - a parser, or a group of it
Reader = Callable[[str], Any]


def whole(least: int | None = None) -> Callable[[str], int]:
    """A reader of a whole number, of at least `least`."""
    bound = "" if least is None else f" of at least {least}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or (least is not None and value < least):
            raise argparse.ArgumentTypeError(f"expected a whole number{bound}, got {text!r}.")
        return value

    return read


def wholes(text: str) -> tuple[int, ...]:
    """A reader of whole numbers separated by commas."""
    return tuple(map(whole(), names(text)))


def number(text: str) -> float:
    """A reader of a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}.") from None


def names(text: str) -> tuple[str, ...]:
    """A reader of names separated by commas, each once."""
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not parts:
        raise argparse.ArgumentTypeError("expected names separated by commas, got none.")
    return parts


def one_of(kind: str, choices: Iterable[str]) -> Callable[[str], str]:
    """A reader of one of a few names."""
    allowed = tuple(choices)

    def read(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(str(unknown_name(kind, text, allowed)))
        return text

    return read


def assignment(text: str, option: str = "--hparam", form: str = "NAME=VALUE") -> tuple[str, Any]:
    """(name, value) of an option; a value that is no JSON is taken as a string."""
    name, separator, value = text.partition("=")
    if not separator or not name.strip("-"):
        raise ValueError(f"{option} takes {form}, got {text!r}.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


@dataclass(frozen=True)
class Option:
    """An option; without a `metavar` it is a flag. A default is printed where the help has none."""

    flag: str
    metavar: str
    help: str
    read: Reader = str
    default: Any = None
    repeated: bool = False


Groups = dict[str, tuple[Option | tuple[Option, ...], ...]]


def add_groups(parser: argparse.ArgumentParser, groups: Groups) -> None:
    """Add groups of options by their titles."""
    for title, options in groups.items():
        add(parser.add_argument_group(title), *options)


def add(group: Group, *options: Option | tuple[Option, ...]) -> None:
    """Add options to a parser or to a group of it; of a tuple of them, one may be given."""
    for option in options:
        if isinstance(option, tuple):
            add(group.add_mutually_exclusive_group(), *option)
            continue
        if not option.metavar:
            group.add_argument(option.flag, action="store_true", help=option.help)
            continue
        group.add_argument(
            option.flag,
            type=option.read,
            action="append" if option.repeated else "store",
            default=[] if option.repeated else option.default,
            metavar=option.metavar,
            help=option.help,
        )


class _Brief(argparse.RawDescriptionHelpFormatter):
    """Shows the common options alone, with their defaults."""

    def __init__(self, prog: str, *, common: Collection[str] | None = None, **more: Any) -> None:
        super().__init__(prog, **more)
        self._common = common

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        shown = list(filter(self._is_shown, actions))
        super().add_usage(usage, shown, groups if self._common is None else (), prefix)

    def add_argument(self, action: argparse.Action) -> None:
        if self._is_shown(action):
            super().add_argument(action)

    def _is_shown(self, action: argparse.Action) -> bool:
        return self._common is None or action.dest in self._common

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        if not text or "default:" in text or action.dest in ("help", "help_all"):
            return text
        none = "off" if action.nargs == 0 else "none"
        return f"{text} (default: {action.default or none})"


class _Help(argparse.Action):
    """Prints the help, of the `common` options or of all, and ends the process."""

    def __init__(self, *, common: Collection[str] | None = None, **more: Any) -> None:
        super().__init__(nargs=0, default=argparse.SUPPRESS, **more)
        self._common = common

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.formatter_class = partial(_Brief, common=self._common)
        parser.print_help()
        parser.exit()


def add_command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    *,
    summary: str,
    description: str,
    examples: str,
    common: Sequence[str],
) -> argparse.ArgumentParser:
    """A command whose `--help` shows the common options, and `--help-all` all of them.

    Args:
        subparsers: of the command line.
        name: of the command.
        summary: one line, for the list of commands.
        description: above the options.
        examples: below them.
        common: names of the options, as they are stored.
    """
    parser = subparsers.add_parser(
        name, help=summary, description=description, epilog=examples, add_help=False
    )
    common = ("help", "help_all", *common)
    parser.add_argument("-h", "--help", action=_Help, common=common, help="show the common options")
    parser.add_argument("--help-all", action=_Help, help="show all options")
    return parser


def config_of(args: argparse.Namespace) -> RunConfig:
    """The configuration that the options of a command describe."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    values = {field.name: given[field.name] for field in fields(RunConfig) if field.name in given}
    if given.get("n_seeds"):
        values["seeds"] = tuple(range(args.n_seeds))
    pairs = [assignment(text, "--slurm-option") for text in given.get("slurm_option", ())]
    values["slurm_option"] = {name.lstrip("-"): value for name, value in pairs} or None
    form = "EDITOR.NAME=VALUE or EDITOR=PRESET"
    hparams = dict(assignment(text, form=form) for text in given.get("hparam", ()))
    if given.get("index"):
        hparams["recipe.index"] = args.index
    options = {field.name: given[field.name] for field in fields(RunOptions) if field.name in given}
    return RunConfig(
        **values,
        recent=given.get("with_recent", False),
        hparams=hparams,
        options=RunOptions(**options),
    )


def backbone_name(config: RunConfig) -> str:
    """The named backbone, or the first embedded one."""
    if config.backbone is None and config.preset == "paper":
        raise ValueError(
            f"--preset paper needs --backbone, one of {', '.join(HUB_IDS)}, or a path."
        )
    return config.backbone or EMBEDDED[0]


def backbone_of(config: RunConfig) -> Backbone:
    """The files of that backbone; errors as in `locate`, and for a device that is not there."""
    check_device(config.device)
    hub = config.preset == "paper"
    return locate(backbone_name(config), world_seed=config.world_seed, hub=hub)


def loaded(backbone: Backbone, config: RunConfig) -> LanguageModel:
    """The model of a backbone; a spinner shows that it is loaded."""
    with show_busy(f"loading {backbone.name}"):
        return load(
            backbone, dtype=config.dtype, device=config.device, device_map=config.device_map
        )
