"""What each of several workers does that share a list of cells: it takes what is free.

Nobody hands cells out. A worker goes through the list in order; cells that are done or that another
worker holds are passed over, which the leases in the directory of records tell.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench.core.stopping import StopFlag, StoppedEarly
from bench.runner.executors.serving import PATIENCE, Site, worker_at

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

    from bench.evaluation.jobs import Job
    from bench.runner.worker import Worker

GRACE = 60.0  # seconds for a cell to come to a stop; Slurm gives 90 unless told otherwise
_PAUSE = 1.0


@dataclass(kw_only=True)
class Pull:
    """A worker; plain values, so that it can go to another machine, and be queued again.

    submitit writes it to a file with cloudpickle, and reads it in the job: the engine takes nothing
    else. The file is this run's own, in a folder of the user.
    """

    jobs: Sequence[Job]  # in the order in which they are taken
    site: Site
    patience: float = PATIENCE
    grace: float = GRACE
    _work: threading.Thread | None = field(default=None, init=False, repr=False, compare=False)
    _stop: StopFlag | None = field(default=None, init=False, repr=False, compare=False)
    _error: BaseException | None = field(default=None, init=False, repr=False)

    def __call__(self) -> None:
        """Work until every cell is done, or held by a worker that shows signs of life.

        The work has a thread of its own, so that the main thread can handle Slurm's signals while
        an edit is being made.

        Raises:
            OSError: a directory is not on this machine, or a record cannot be written.
        """
        self._stop = self.site.stop_flag()
        self._work = threading.Thread(target=self._guarded, name="cells", daemon=True)
        self._work.start()
        self._work.join()
        if self._error is not None:
            raise self._error

    def checkpoint(self) -> DelayedSubmission:
        """Stop, and say what is to be queued again; submitit calls this before a job is ended.

        The cell that runs has `grace` seconds to keep its state. That, or its record, is in the
        directory of records, so that the queued worker is this one as it began.
        """
        from submitit.helpers import DelayedSubmission

        if self._stop is not None:
            self._stop.request_stop()
        if self._work is not None:
            self._work.join(self.grace)
        return DelayedSubmission(replace(self))

    def _guarded(self) -> None:
        try:
            self._take_all()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            if not isinstance(error, StoppedEarly):
                self._error = error

    def _take_all(self) -> None:
        worker, left = worker_at(self.site, self._stop), list(self.jobs)
        end = time.monotonic() + self.patience
        while left and not self._is_stopping():
            taken, left = self._pass(worker, left)
            if taken:
                end = time.monotonic() + self.patience
            elif time.monotonic() >= end:
                return
            elif left:
                time.sleep(_PAUSE)

    def _pass(self, worker: Worker, jobs: Sequence[Job]) -> tuple[int, list[Job]]:
        """Take what is free; how many that were, and which are held elsewhere."""
        taken, held = 0, []
        for job in jobs:
            if self._is_stopping():
                break
            if worker.run(job).outcome == "elsewhere":
                held.append(job)
            else:
                taken += 1
        return taken, held

    def _is_stopping(self) -> bool:
        return self._stop is not None and self._stop.stop_requested()
