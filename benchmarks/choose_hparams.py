"""Choose an editor's hyper-parameters for a backbone, on training edits only.

    python -m benchmarks.choose_hparams [--backbone mini-llama] [--editors ft,rome,grace]
        [--world-seed 0] [--out FILE]
    python -m benchmarks.choose_hparams --backbone smollm2-135m --data-dir RECIPE [--trials 8]

For a miniature backbone every combination of its search space is run, for a real one the same
number of combinations for each editor, drawn at random from a wider space with a fixed seed. They
are run with the benchmark's own protocol, metrics and resources, one edit and ten edits at a time.
A trial's score is the mean, over data sets and numbers
of edits, of the average of reliability, generality and locality (teacher-forced token accuracy).
Every trial is written to a JSON file when it ends; finished trials are not run again. The choice is
then written by hand into the editor's `presets`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.core.cells import Cell
from bench.core.config import RunConfig
from bench.core.files import write_text
from bench.datasets import LoadedSamples, get_dataset
from bench.evaluation import metrics
from bench.evaluation.driver import run_blocks
from bench.evaluation.metrics import summarise
from bench.models.backbones import EMBEDDED, Backbone, load, locate
from bench.models.resources import check_real_data, resources_for, sources_for
from bench.world.store import data_dir
from editors import registry
from editors.base import Hparams
from editors.parts.language_model import LanguageModel

DATASETS = ("zsre", "counterfact")
# Samples at each number of edits; the larger count contains the smaller: 40 training edits in all,
# and 20 on a real model, where an edit takes seconds.
SAMPLES = {1: 10, 10: 20}
REAL_SAMPLES = {1: 5, 10: 10}
Space = dict[str, tuple[Any, ...]]


def search_space(n_layers: int) -> dict[str, Space]:
    """Values to try, by editor and field, on a model of `n_layers` blocks: layers are quarters."""
    quarters = tuple(range(n_layers // 4 - 1, n_layers, n_layers // 4))
    return {
        "ft": {"layer": quarters, "lr": (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)},
        "rome": {"layer": quarters[:2], "v_lr": (0.5, 1.0)},
        "memit": {
            "layers": tuple(list(quarters[:n]) for n in (1, 2, 3)),
            "mom2_update_weight": (50.0, 500.0, 5_000.0),
        },
        "wilke": {"scanning_ceiling": (quarters[1] + 1,), "v_lr": (0.5, 1.0)},
        "grace": {"layer": quarters, "eps": (0.05, 0.2, 0.5, 1.0, 2.0), "eps_unit": ("key_norm",)},
        "t_patcher": {"memory_weight": (0.1, 1.0, 10.0)},
        "alphaedit": {
            "layers": tuple(list(quarters[:n]) for n in (1, 2)),
            "nullspace_threshold": (0.02, 0.1, 0.5),
            "L2": (0.1, 1.0, 10.0),
        },
        "wise": {"layer": quarters[1:], "edit_lr": (0.1, 1.0)},
        "ultraedit": {
            "layers": (*([layer] for layer in quarters[1:]), list(quarters[1:3])),
            "lr": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
        },
        "ike": {"demonstrations": (1, 2, 4, 8)},
        "rag": {"retrieval": ("always", "gated"), "form": ("qa", "statement")},
    }


def wide_space(n_layers: int) -> dict[str, Space]:
    """Values to try on a real model: at least eight combinations for each editor."""

    def at(*depths: float) -> tuple[int, ...]:
        return tuple(int(depth * n_layers) for depth in depths)

    early, blocks = at(0.05, 0.15, 0.3, 0.45), at(0.15, 0.4, 0.65, 0.9)
    ranges = tuple(list(range(first, first + 5)) for first in at(0.0, 0.1, 0.25))
    return {
        "ft": {"layer": blocks, "lr": (1e-4, 2e-4, 5e-4, 1e-3)},
        "rome": {"layer": early, "v_lr": (0.1, 0.5, 1.0)},
        "memit": {"layers": ranges, "v_lr": (0.1, 0.5), "mom2_update_weight": (500.0, 5e3, 15e3)},
        "wilke": {"scanning_ceiling": at(0.1, 0.2, 0.3, 0.45), "v_lr": (0.1, 0.5, 1.0)},
        "grace": {"layer": blocks, "eps": (0.2, 0.5, 1.0, 2.0), "eps_unit": ("key_norm",)},
        "t_patcher": {
            "memory_weight": (0.01, 0.1, 1.0, 10.0),
            "activation_weight": (0.01, 0.1, 1.0),
        },
        "alphaedit": {
            "layers": ranges,
            "nullspace_threshold": (0.002, 0.02, 0.1),
            "L2": (0.1, 1.0, 10.0),
        },
        "wise": {"layer": at(0.4, 0.65, 0.85, 0.95), "edit_lr": (0.1, 0.5, 1.0)},
        "ultraedit": {
            "layers": (*([layer] for layer in blocks[1:]), list(at(0.85, 0.9, 0.95))),
            "lr": (1e-6, 1e-5, 1e-4, 1e-3, 1e-2),
        },
        "ike": {"demonstrations": (0, 1, 4, 8, 16, 32), "retrieval": ("always", "gated")},
        "rag": {
            "retrieval": ("gated",),
            "form": ("qa", "statement"),
            "threshold": (None, -1.0, 0.4, 0.5, 0.6, 0.7),  # -1: always
        },
    }


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all trials share: the backbone and the training edits."""

    lm: LanguageModel
    backbone: Backbone
    config: RunConfig
    samples: dict[str, LoadedSamples]
    trials: int | None  # of each editor; None: every combination

    @property
    def space(self) -> dict[str, Space]:
        """Values to try, by editor and field."""
        of = search_space if self.trials is None else wide_space
        return of(self.lm.n_layers)

    @property
    def counts(self) -> dict[int, int]:
        """Samples at each number of edits."""
        return SAMPLES if self.trials is None else REAL_SAMPLES

    @property
    def edits(self) -> str:
        """Where they are from."""
        return f"embedded world {self.config.world_seed}" if self.trials is None else "real data"

    def scores(self, editor: str, hparams: Hparams) -> dict[str, dict[str, Any]]:
        """Scores by data set and number of edits."""
        return {
            dataset: {
                str(n_edits): self._scores(editor, hparams, dataset, n_edits)
                for n_edits in self.counts
            }
            for dataset in self.samples
        }

    def _scores(self, key: str, hparams: Hparams, dataset: str, n_edits: int) -> dict[str, Any]:
        sources = sources_for(
            key,
            self.backbone.name,
            hparams,
            dataset=dataset,
            like=self.backbone.like,
            config=self.config,
        )
        cls, loaded = registry.editor_class(key), self.samples[dataset]
        editor = cls(self.lm, hparams, resources_for(self.lm, hparams, sources))
        cell = Cell(
            backbone=self.backbone.name,
            backbone_digest=self.backbone.digest,
            dtype="float32",
            dataset=dataset,
            dataset_revision=f"{self.edits}, training split",
            dataset_digest=loaded.digest,
            editor=key,
            editor_version=cls.version,
            hparams=hparams.to_dict(),
            inputs=sources.digests(),
            n_edits=n_edits,
            seed=0,
            limit=self.counts[n_edits],
            metric_version=metrics.PROTOCOL_VERSION,
            generation="none",
        )
        rows = run_blocks(cell, editor, loaded.samples).rows
        return dict(summarise(rows)["scores"]["after"]["teacher_forced"]["token_accuracy"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials that are missing, and print the best of each editor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--backbone", default=EMBEDDED[0], metavar="NAME|PATH")
    parser.add_argument("--editors", metavar="A,B", help="default: all that have a search space")
    parser.add_argument("--world-seed", type=int, default=0, metavar="N")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="real data, for a real model")
    parser.add_argument("--trials", type=int, default=8, metavar="N", help="of each editor, there")
    parser.add_argument("--out", type=Path, help="default: BACKBONE.json, here")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    config = RunConfig(backbone=args.backbone, world_seed=args.world_seed, data_dir=args.data_dir)
    setting = _setting(config, args.trials)
    out = args.out or Path(f"{setting.backbone.name}.json")  # committed: benchmarks/hparams
    trials = _read(out, setting)
    for editor in args.editors.split(",") if args.editors else setting.space:
        for changes in _drawn(editor, setting):
            if not any(t["editor"] == editor and t["changes"] == changes for t in trials):
                trials.append(_trial(setting, editor, changes))
                _write(out, setting, trials)
                _report(trials[-1])
    for best in _best(trials).values():
        _report(best, "chosen: ")
    return 0


def _setting(config: RunConfig, trials: int) -> Setting:
    backbone = locate(str(config.backbone), world_seed=config.world_seed)
    check_real_data(backbone.name, backbone.like, config)
    files = config.data_dir or data_dir(config.world_seed)
    return Setting(
        lm=load(backbone),
        backbone=backbone,
        config=config,
        samples={name: get_dataset(name).load("train", files) for name in DATASETS},
        trials=None if config.data_dir is None else trials,
    )


def _drawn(editor: str, setting: Setting) -> list[dict[str, Any]]:
    """The combinations that are tried for an editor: all, or some drawn with its own seed."""
    every = list(_combinations(setting.space[editor]))
    if setting.trials is None or setting.trials >= len(every):
        return every
    return random.Random(editor).sample(every, setting.trials)  # noqa: S311 - no secret


def _combinations(space: Space) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*space.values()):
        yield dict(zip(space, values, strict=True))


def _trial(setting: Setting, editor: str, changes: dict[str, Any]) -> dict[str, Any]:
    cls, start = registry.editor_class(editor), time.perf_counter()
    preset = registry.hparams_for(editor, setting.backbone.like).to_dict()
    scores = setting.scores(editor, cls.hparams_class.from_dict(preset | changes))
    averages = [at_n["average"] for by_edits in scores.values() for at_n in by_edits.values()]
    return {
        "editor": editor,
        "changes": changes,
        "score": sum(averages) / len(averages),
        "scores": scores,
        "seconds": round(time.perf_counter() - start, 1),
    }


def _best(trials: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The first of the best trials of each editor."""
    best: dict[str, dict[str, Any]] = {}
    for trial in trials:
        if trial["score"] > best.get(trial["editor"], {"score": -1})["score"]:
            best[trial["editor"]] = trial
    return best


def _read(path: Path, setting: Setting) -> list[dict[str, Any]]:
    """Earlier trials of the same weights and samples; other trials are discarded."""
    if not path.exists():
        return []
    earlier = json.loads(path.read_text("utf-8"))
    return list(earlier["trials"]) if earlier.get("subject") == _subject(setting) else []


def _subject(setting: Setting) -> dict[str, Any]:
    """What trials depend on, apart from the code."""
    return {
        "backbone": setting.backbone.name,
        "backbone_digest": setting.backbone.digest,
        "world_seed": setting.config.world_seed,
        "samples": {str(n_edits): count for n_edits, count in setting.counts.items()},
        "data": {name: loaded.digest for name, loaded in setting.samples.items()},
    }


def _write(path: Path, setting: Setting, trials: Sequence[dict[str, Any]]) -> None:
    record = {
        "schema": 2,
        "subject": _subject(setting),
        "search": setting.space,
        **({} if setting.trials is None else {"trials_of_each_editor": setting.trials}),
        "chosen": {name: trial["changes"] for name, trial in _best(trials).items()},
        "trials": trials,
    }
    write_text(path, json.dumps(record, indent=1) + "\n")


def _report(trial: dict[str, Any], before: str = "") -> None:
    line = f"{before}{trial['editor']} {trial['changes']}: {100 * trial['score']:.1f}"
    for dataset, by_edits in trial["scores"].items():
        for n_edits, scores in by_edits.items():
            names = ("reliability", "generality", "locality")
            values = "/".join(f"{100 * scores[name]:.0f}" for name in names)
            line += f"  {dataset}@{n_edits} {values}"
    sys.stderr.write(f"{line}  ({trial['seconds']} s)\n")


if __name__ == "__main__":
    sys.exit(main())
