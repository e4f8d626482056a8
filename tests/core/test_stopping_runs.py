from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from bench.core.progress import SIGNALS, StopFlag, StoppedEarly, stopped_by_signals


def test_a_flag_is_raised_once_and_passed_on() -> None:
    stop, calls = StopFlag(), []
    stop.passed_on(lambda: calls.append("early"))
    assert not stop.stop_requested()
    stop.request_stop()
    stop.request_stop()
    assert stop.stop_requested()
    stop.passed_on(lambda: calls.append("late"))
    assert calls == ["early", "late"]


def test_a_flag_can_be_raised_elsewhere() -> None:
    raised = [False]
    stop = StopFlag(lambda: raised[0])
    assert not stop.stop_requested()
    raised[0] = True
    assert stop.stop_requested()


def test_stopping_is_no_exception_that_jobs_catch() -> None:
    assert not issubclass(StoppedEarly, Exception)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_the_flag_and_handlers_come_back(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before, stop = [signal.getsignal(one) for one in SIGNALS], StopFlag()
    with stopped_by_signals(stop) as caught:
        assert not stop.stop_requested()
        os.kill(os.getpid(), number)
        assert stop.stop_requested()
    assert caught.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert [signal.getsignal(one) for one in SIGNALS] == before
    assert "a second signal ends at once" in capsys.readouterr().err


def test_other_threads_catch_nothing() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stopped_by_signals(StopFlag()):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_second_signal_ends_at_once() -> None:
    program = """
import os, signal, time
from bench.core.progress import StopFlag, stopped_by_signals
with stopped_by_signals(StopFlag()):
    os.kill(os.getpid(), signal.SIGINT)
    print("still here", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("and here")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 143
    assert done.stdout == "still here\n"
