"""Ray workers that are killed in the middle of real cells."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest

from bench.core.config import RunOptions
from bench.store.results import ResultStore
from tests.faults.grid import EDITORS, Home, results
from tests.faults.tally import Count

pytestmark = pytest.mark.faults

KILLS = 2


def test_ray_workers(
    home: Home, tally: defaultdict[str, Count], chance: random.Random, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="ray is not installed: its workers cannot be killed")
    from bench.runner.executors.ray_cluster import RayExecutor

    count, out, whole = tally["ray"], tmp_path / "out", home.whole
    out.mkdir()
    killed: dict[str, int] = {}
    over = threading.Event()

    def kill() -> None:
        """Kill who holds a cell, once for each of a few cells."""
        while len(killed) < KILLS and not over.is_set():
            for lease in (out / "claims").glob("*.json"):
                try:
                    process = int(json.loads(lease.read_text())["pid"])
                except (OSError, ValueError):  # just given back, or not written yet
                    continue
                if lease.stem in killed or process in killed.values():
                    continue
                time.sleep(chance.uniform(0, 0.1))
                os.kill(process, signal.SIGKILL)
                killed[lease.stem] = process
                break
            time.sleep(0.005)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        options = RunOptions(checkpoint_seconds=0.0, checkpoint_edits=1)
        finished = list(RayExecutor(cpus=1).run(home.jobs(EDITORS), out, options=options))
    finally:
        over.set()
        killer.join()
    for key in killed:
        with count.trying(f"the worker of {key}"):
            assert results(out).get(key) == whole[key]
    with count.checking("the other cells"):
        assert len(finished) == len(whole)
        assert results(out) == whole
        assert not ResultStore(out).leases.exists()
    count.settle(KILLS)
