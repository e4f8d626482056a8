"""What a user wants run: one `RunConfig`, the same from the command line and from a notebook.

It stands in the lowest room because the plan, the workers and the checkpoints of a running cell
all read it. What it refuses, both doors refuse with the same sentence. Names that only a registry
knows (editors, data sets, backbones, metric sets) are checked by `bench.runner.planning`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from bench.core.cells import Generation, Varies
from bench.core.grids import SMALL_SEEDS, Preset
from bench.core.names import unknown_name
from editors import registry
from editors.parts.checks import check_count, check_flag, check_list, check_text, described

Weights = Literal["trained", "random"]
DeviceMap = Literal["auto"]
# How an answer becomes a score: by first tokens, as this package asks (`paper`) or as RECIPE's
# released code does; lm-eval's way, or PromptBench's, which reads the decoded text.
Scoring = Literal["paper", "released", "lm-eval", "promptbench"]
ExecutorName = Literal["local", "ray", "slurm"]
Cluster = Literal["slurm", "local", "debug"]  # engines of submitit; two of them are for trials

DTYPES = ("float32", "bfloat16", "float16")
SCORINGS: tuple[Scoring, ...] = get_args(Scoring)
METRICS = ("all", "teacher_forced")
GENERATION_PROMPTS = tuple(name for name in get_args(Generation) if name != "none")
RESULTS, TABLES_FOLDER, SLURM_FOLDER = Path("results"), Path("tables"), Path("slurm")
CHECKPOINT_SECONDS = 30.0  # ours: most cells of the miniature backbones end before

CHOICES: Mapping[str, tuple[str, ...]] = {
    "preset": get_args(Preset),
    "vary": get_args(Varies),
    "metrics": METRICS,
    "scoring": ("paper", "released", "lm-eval"),
    "harness": ("promptbench",),
    "generation_prompt": GENERATION_PROMPTS,
    "bundle": get_args(registry.Bundle),
    "weights": get_args(Weights),
    "dtype": DTYPES,
    "device_map": get_args(DeviceMap),
    "executor": get_args(ExecutorName),
    "slurm_cluster": get_args(Cluster),
}
_LEAST = {  # of whole numbers
    "table": 1, "edits": 1, "seeds": 0, "limit": 1, "batch_per_step": 1, "task_limit": 1,
    "documents": 1, "world_seed": 0, "jobs": 1, "slurm_workers": 1, "slurm_time": 1,
    "slurm_gpus": 0,
}  # fmt: skip
_OF_EXECUTOR = {  # options of one executor; none of them has a default
    "ray": ("ray_address", "gpus_per_cell"),
    "slurm": (
        *("slurm_workers", "slurm_partition", "slurm_time", "slurm_gpus", "slurm_option"),
        *("slurm_folder", "slurm_cluster", "detach"),
    ),
}


def option(name: str) -> str:
    """A field as the command line calls it."""
    return f"--{name.replace('_', '-')}"


def whole(name: str, value: Any, least: int) -> Any:
    """A whole number of at least `least`, or several, as Python's; None stays.

    Raises:
        ValueError: another value.
    """
    if value is None:
        return None
    if isinstance(value, tuple | list):
        return tuple(check_count(option(name), number, least) for number in value)
    return check_count(option(name), value, least)


def _several(value: Any) -> tuple[Any, ...]:
    """The values of a field that may have none, one or several."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How workers run cells. Nothing here changes a result, but for the last bits on a GPU."""

    checkpoint_seconds: float = CHECKPOINT_SECONDS  # between checkpoints, at least
    checkpoint_edits: int | None = None  # between checkpoints, at most; None: any number
    deterministic: bool = False  # see `bench.core.numerics`

    def __post_init__(self) -> None:
        if not 0 <= self.checkpoint_seconds < math.inf:
            raise ValueError(
                "--checkpoint-seconds: expected a number of seconds from 0 on, got "
                f"{self.checkpoint_seconds}."
            )
        edits = whole("checkpoint_edits", self.checkpoint_edits, 1)
        object.__setattr__(self, "checkpoint_edits", edits)


DEFAULT_OPTIONS = RunOptions()


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The cells of a table, what they are run on, and how. None takes the table's own choice.

    Raises:
        ValueError: a value that no run can have, or two that exclude each other.
    """

    # Which cells.
    table: int = 1
    preset: Preset = "embedded"
    backbone: str | None = None  # a name, or a local Hugging Face model directory
    editors: tuple[str, ...] | None = None  # names, or Python files of a user's own
    recent: bool = False  # whether all editors include those of later papers
    datasets: tuple[str, ...] | None = None
    edits: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None
    vary: Varies = "order"  # what a seed changes
    limit: int | None = None  # samples drawn for each cell
    batch_per_step: int = 1  # requests that an editor writes together

    # What is measured.
    metrics: str = "all"
    generation_prompt: Generation = "context_free"
    measure: tuple[str, ...] = ()  # names of optional metric sets
    measure_text: str | None = None  # a corpus; None takes the embedded world's
    scoring: Literal["paper", "released", "lm-eval"] | None = None  # of general ability
    harness: Literal["promptbench"] | None = None
    task_limit: int | None = None  # questions of each set
    ability_dir: Path | None = None  # files of the question sets

    # On what.
    hparams: Mapping[str, Any] = field(default_factory=dict)  # EDITOR.NAME: value; EDITOR: preset
    bundle: registry.Bundle = "original"  # of presets
    weights: Weights = "trained"  # of backbone and editors; random ones are for times alone
    data_dir: Path | None = None  # real files; None takes the embedded world's
    world_seed: int = 0
    corpus: str | None = None  # of key statistics; None takes what belongs to the backbone
    documents: int | None = None  # of the corpus
    # Of retrieval editors: one for all, or EDITOR=NAME for each; None takes what belongs to the
    # backbone.
    encoder: str | tuple[str, ...] | None = None
    dtype: str = "float32"
    device: str = ""  # empty: cuda in the paper preset, else cpu
    device_map: DeviceMap | None = None

    # How, and where to.
    out: Path | None = None
    overwrite: bool = False  # run cells again that have a record
    retry_failed: bool = False
    skip_untrained: bool = False  # leave out named editors whose weights are not trained
    options: RunOptions = DEFAULT_OPTIONS
    executor: ExecutorName = "local"
    jobs: int | None = None  # worker processes; None: one for each core, or one on a GPU
    ray_address: str | None = None
    gpus_per_cell: float | None = None
    slurm_workers: int | None = None
    slurm_partition: str | None = None
    slurm_time: int | None = None  # minutes
    slurm_gpus: int | None = None
    slurm_option: Mapping[str, Any] | None = None  # of sbatch, by name
    slurm_folder: Path | None = None
    slurm_cluster: Cluster | None = None
    detach: bool = False

    def __post_init__(self) -> None:
        self._take_lists_and_paths()
        self._check_flags()
        if not check_text(option("device"), self.device, empty=True):
            object.__setattr__(self, "device", "cuda" if self.preset == "paper" else "cpu")
        for name, allowed in CHOICES.items():
            value = vars(self)[name]
            if value is not None and value not in allowed:
                raise unknown_name(name.replace("_", " "), str(value), allowed)
        for name, least in _LEAST.items():
            object.__setattr__(self, name, whole(name, vars(self)[name], least))
        for name in ("editors", "datasets", "edits", "seeds"):
            if vars(self)[name] == ():
                raise ValueError(f"{option(name)}: expected at least one, got none.")
        if self.weights == "random" and self.device_map is not None:
            raise ValueError(
                "Random weights are drawn on one device: --weights random takes no --device-map."
            )
        self._check_executor()

    def _check_flags(self) -> None:
        for name in ("recent", "overwrite", "retry_failed", "skip_untrained", "detach"):
            check_flag(option(name), vars(self)[name])

    def _take_lists_and_paths(self) -> None:
        """Refuse what is no list of names, no mapping or no path; a path may be text."""
        for name in ("editors", "datasets", "measure"):
            if vars(self)[name] is not None:
                names = check_list(option(name), vars(self)[name], str, "names")
                object.__setattr__(self, name, tuple(names))
        object.__setattr__(self, "measure", tuple(sorted(set(self.measure))))
        for name in ("ability_dir", "data_dir", "out", "slurm_folder"):
            for place in _several(vars(self)[name]):
                path = place if isinstance(place, Path) else Path(check_text(option(name), place))
                object.__setattr__(self, name, path)
        for name in ("backbone", "corpus", "encoder", "measure_text"):
            for text in _several(vars(self)[name]):
                check_text(option(name), text)
        changes: Any = self.hparams
        if not isinstance(changes, Mapping):
            raise ValueError(f"--hparam: expected names with values, got {described(changes)}.")

    @property
    def named_seeds(self) -> tuple[int, ...]:
        """The seeds, each once; 0 where none is named."""
        usual = SMALL_SEEDS if self.preset == "small" else (0,)
        return tuple(dict.fromkeys(self.seeds or usual))

    @property
    def encoders(self) -> Mapping[str, str]:
        """The encoder that is named for each editor alone, by the editor's key.

        An existing path is never taken for such a pair.

        Raises:
            ValueError: unknown editors.
        """
        pairs = (text.partition("=") for text in self._encoders if not Path(text).exists())
        named = {registry.resolve(editor): name for editor, own, name in pairs if own}
        for editor, name in named.items():
            check_text(f"{option('encoder')} {editor}=", name)
        return named

    @property
    def _encoders(self) -> tuple[str, ...]:
        named = self.encoder or ()
        return (named,) if isinstance(named, str) else tuple(named)

    def encoder_for(self, editor: str) -> str | None:
        """The encoder that is named for an editor, else the last one that is named for all."""
        shared = [text for text in self._encoders if "=" not in text or Path(text).exists()]
        return self.encoders.get(editor, shared[-1] if shared else None)

    @property
    def generation(self) -> Generation:
        return "none" if self.metrics == "teacher_forced" else self.generation_prompt

    @property
    def ability_scoring(self) -> Scoring:
        """How an answer to a question of general ability becomes a score."""
        return self.harness or self.scoring or self._usual_scoring

    @property
    def other_scoring(self) -> Scoring | None:
        """That scoring where it is not the preset's usual one."""
        scoring = self.ability_scoring
        return None if scoring == self._usual_scoring else scoring

    @property
    def _usual_scoring(self) -> Scoring:
        return "paper" if self.preset == "embedded" else "released"

    @property
    def embedded_data(self) -> bool:
        """Whether the edits are those of the embedded world."""
        return self.preset == "embedded" and self.data_dir is None

    @property
    def records(self) -> Path:
        return self.out or RESULTS

    @property
    def tables(self) -> Path:
        """The directory of tables: in that of the records, where this is named."""
        return self.out / "tables" if self.out else TABLES_FOLDER

    def _check_executor(self) -> None:
        share = self.gpus_per_cell
        if share is not None and not (0 < share <= 1 or (share > 1 and float(share).is_integer())):
            raise ValueError(
                "--gpus-per-cell: expected a fraction of one GPU or a whole number of them, "
                f"got {share:g}."
            )
        for executor, names in _OF_EXECUTOR.items():
            given = [name for name in names if vars(self)[name] not in (None, False)]
            if given and executor != self.executor:
                raise ValueError(
                    f"{option(given[0])} goes with --executor {executor}, got --executor "
                    f"{self.executor}."
                )
        if self.jobs is not None and self.executor == "slurm":
            raise ValueError(
                "--jobs counts processes of this machine; with slurm: --slurm-workers."
            )
