"""Cells as Ray tasks, on this machine or on a cluster that is already there."""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from bench.core.config import RunConfig
from bench.core.console import warn
from bench.core.grids import get_table
from bench.core.progress import StopFlag, StoppedEarly
from bench.evaluation.jobs import Job
from bench.runner.executors.base import Executor, Finished, FinishedCells, Site, require
from bench.runner.executors.local import available_cores
from bench.runner.kinds import KINDS

RETRIES = 1  # of a cell whose process is killed; Ray starts it again, wherever there is room
_LOOK_SECONDS = 1.0  # between two looks at whether signals came
_LISTENING_SECONDS = 20.0  # in which a cluster must answer
_STORE_BYTES = 100 * 2**20  # Ray's shared memory, through which only jobs and outcomes go
# What a worker must agree on with the process that started the run, by the names' first letters.
_SHARED = ("HF_", "LIFELONG_EDIT_BENCH_", "TOKENIZERS_", "TQDM_", "TRANSFORMERS_", "XDG_CACHE_")

_gpu: list[str] = []  # the GPU that this process has used, if it is Ray's process


class RayExecutor(Executor):
    """One task for each cell; Ray's workers stay, each with the model that it has loaded."""

    def __init__(self, config: RunConfig) -> None:
        require("ray", extra="ray")
        if KINDS[get_table(config.table).measures].alone:
            raise ValueError(
                "Ray runs cells beside each other, which would disturb the times that this table "
                "measures; take --executor local, or slurm, which gives it a single job."
            )
        self._address = config.ray_address or os.environ.get("RAY_ADDRESS") or "local"
        self._cpus = config.jobs
        self._gpus_per_cell = config.gpus_per_cell or 1.0

    def run(self, jobs: Sequence[Job], site: Site, stop: StopFlag) -> FinishedCells:
        """See the base class; a file beside the records asks workers to stop."""
        records = site.records.absolute()
        stopping = records / f".stop.{uuid.uuid4().hex}"
        stop.passed_on(stopping.touch)
        site = replace(site, records=records, stopping=stopping)
        try:
            with self._connected() as ray:
                yield from self._outcomes(ray, jobs, site)
        finally:
            stopping.unlink(missing_ok=True)

    def _outcomes(self, ray: Any, jobs: Sequence[Job], site: Site) -> Iterator[Finished]:
        from bench.runner.worker import lost

        # Without max_calls Ray would end a worker after one task on a GPU.
        task = ray.remote(num_cpus=1, max_retries=RETRIES, max_calls=0)(run_task)
        waiting = {
            task.options(num_gpus=self._gpus(job), name=job.cell.describe()).remote(job, site): job
            for job in jobs
        }
        start, stopped = time.perf_counter(), False
        try:
            while waiting:
                ready, _ = ray.wait(list(waiting), num_returns=1, timeout=_LOOK_SECONDS)
                for reference in ready:
                    job, outcome = waiting.pop(reference), _outcome(ray, reference)
                    if outcome == "stopped":
                        stopped = True
                    else:
                        yield outcome or lost(job, site.records, time.perf_counter() - start)
        except KeyboardInterrupt:
            warn("interrupted: workers stop after their present edit or batch.")
            raise
        finally:
            if waiting:
                _let_end(ray, list(waiting), site)
        if stopped:
            raise StoppedEarly

    def _gpus(self, job: Job) -> float:
        return self._gpus_per_cell if job.device.startswith("cuda") else 0.0

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """Ray, connected; a connection that was there before is used and left as it is."""
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to the authors of Ray
        os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # Ray's default: for ever
        import ray

        if ray.is_initialized():
            yield ray
            return
        try:
            _check_listening(self._address)
            ray.init(address=self._address, **self._options())
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"No Ray at {self._address!r}: {error}") from error
        try:
            yield ray
        finally:
            ray.shutdown()

    def _options(self) -> dict[str, Any]:
        """Of `ray.init`; a cluster that is there already has its own resources."""
        shared = {name: os.environ[name] for name in os.environ if name.startswith(_SHARED)}
        options = {
            "log_to_driver": False,
            "logging_level": "ERROR",
            "runtime_env": {"env_vars": shared | {"OMP_NUM_THREADS": "1"}},
        }
        if self._address != "local":
            return options
        return options | {
            "num_cpus": self._cpus or available_cores(),
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }


def _check_listening(address: str) -> None:
    """Refuse an address where nobody listens, which Ray would try for many minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=_LISTENING_SECONDS).close()


def run_task(job: Job, site: Site) -> Finished | Literal["stopped"]:
    """Run a job in the process that Ray chose."""
    from bench.runner.worker import run_patiently, worker_at

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; a file asks to stop
    _stay_on_gpu()
    try:
        return run_patiently(worker_at(site), job)
    except StoppedEarly:  # which Ray would take for a process that died
        return "stopped"


def _stay_on_gpu() -> None:
    """End a process that Ray now lends another GPU than the one it has used; Ray takes a fresh one.

    CUDA reads which devices it may use once, so that the process would go on with the former.
    """
    lent = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not lent:
        return
    if _gpu and _gpu != [lent]:
        os.kill(os.getpid(), signal.SIGKILL)
    _gpu[:] = [lent]


def _outcome(ray: Any, ready: Any) -> Finished | Literal["stopped"] | None:
    """What a task returned, None where its process was killed once too often."""
    errors = ray.exceptions
    try:
        finished: Finished | Literal["stopped"] = ray.get(ready)
    except errors.RayTaskError as error:
        raise OSError(str(error.cause)) from error
    except (
        errors.WorkerCrashedError,
        errors.OutOfMemoryError,
        errors.NodeDiedError,
        errors.LocalRayletDiedError,
    ):
        return None
    return finished


def _let_end(ray: Any, waiting: list[Any], site: Site) -> None:
    """Cancel what has not begun, ask the rest to stop, and wait for it."""
    if site.stopping is not None:
        site.stopping.touch()
    for task in waiting:
        ray.cancel(task)
    ray.wait(waiting, num_returns=len(waiting))
