"""Long work: rates and times that make sense, few lines in a pipe, and stops that are requested."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from bench.core.progress import (
    SIGNALS,
    Pace,
    StopFlag,
    StoppedEarly,
    counted,
    heartbeat,
    in_words,
    show_busy,
    show_count,
    show_steps,
    stopped_by_signals,
)


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rich take any stream for a terminal."""
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)


def test_rate_and_time_left() -> None:
    now = [0.0]
    pace = Pace(10, clock=lambda: now[0])
    assert (pace.rate, pace.seconds_left, pace.left_in_words()) == (None, None, "")
    now[0], pace.done = 4.0, 2
    assert (pace.rate, pace.seconds_left) == (0.5, 16.0)
    assert pace.left_in_words() == ", about 16 s left"
    pace.before = 1  # one of them was there already
    assert pace.rate == 0.25
    pace.total = None
    assert pace.seconds_left is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (120, "2 min"), (3540, "59 min"), (4800, "1 h 20 min")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_heart_beats_until_the_end_and_not_after_it() -> None:
    beats: list[float] = []

    def beat() -> None:
        beats.append(time.monotonic())
        raise OSError("no room")  # which ends no later beat

    with heartbeat(beat, 0.01):
        end = time.monotonic() + 20
        while len(beats) < 3 and time.monotonic() < end:
            time.sleep(0.01)
    count = len(beats)
    assert count >= 3
    time.sleep(0.05)
    assert len(beats) == count


def test_a_pipe_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with show_count("records", 4, every=0.05) as more:
        more(1)
        time.sleep(0.3)
        more(3)
    captured = capsys.readouterr()
    assert captured.out == ""
    line = r"records: 1 of 4, [\d.]+/s, about \d+ s left"
    assert re.fullmatch(line, captured.err.splitlines()[0])
    with show_count("records", None) as more:
        more(5)
    assert capsys.readouterr().err == ""  # quick work


def test_a_terminal_gets_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminal(monkeypatch)
    with show_count("[bold]\x1bmaps", 2) as more:
        more(2)
        time.sleep(0.2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert r"[bold]\x1bmaps" in captured.err
    assert "2/2" in captured.err


def test_work_of_unknown_length_shows_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with show_busy("reading \x1bmodels", every=0.05):
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == r"reading \x1bmodels: 0 s so far"
    with show_busy("quick"):
        pass
    assert capsys.readouterr().err == ""


def test_work_of_unknown_length_leaves_nothing_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminal(monkeypatch)
    with show_busy("reading"):
        time.sleep(0.2)
    captured = capsys.readouterr()
    assert "reading" in captured.err
    assert captured.err.endswith("\x1b[2K")  # the line is erased
    assert captured.out == ""


def test_counted_items_pass_through() -> None:
    assert list(counted(iter("abc"), "letters", 3)) == ["a", "b", "c"]


def test_a_pipe_gets_held_out_scores_and_not_the_loss_terms_of_the_same_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with show_steps() as step:
        step({"iteration": 1, "iterations": 2, "running_loss": 2.0, "reliability": 2.5})
        assert capsys.readouterr().err == ""
        numbers = {"running_loss": 1.5, "reliability": 2.5, "held_out_loss": 1.25}
        scores = {"zsre.reliability": 0.5, "zsre.hit_reliability": 0.75}
        step({"iteration": 2, "iterations": 2, **numbers, **scores})
    captured = capsys.readouterr()
    assert captured.err == "2: running_loss 1.500, held_out_loss 1.250, zsre.reliability 50.0\n"
    assert captured.out == ""


def test_the_first_steps_show_how_long_the_rest_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    clocked = partial(Pace, clock=lambda: now[0])
    monkeypatch.setattr("bench.core.progress.Pace", clocked)
    with show_steps() as step:
        now[0] = 500.0  # data are read, a model is built
        for iteration in range(10, 15):  # ten by an earlier run
            step({"iteration": iteration, "iterations": 1_000, "running_loss": 1.0})
            now[0] += 12.0
    assert capsys.readouterr().err == (
        "12 s an iteration on this machine, about 3 h 18 min left, evaluations apart; "
        "Ctrl-C stops, and the same command continues.\n"
    )


def test_a_flag_is_raised_once_and_passed_on() -> None:
    stop, calls = StopFlag(), []
    stop.passed_on(lambda: calls.append("early"))
    assert not stop.stop_requested()
    stop.request_stop()
    stop.request_stop()
    assert stop.stop_requested()
    stop.passed_on(lambda: calls.append("late"))
    assert calls == ["early", "late"]
    requests: list[str] = []
    elsewhere = StopFlag(lambda: bool(requests))
    assert not elsewhere.stop_requested()
    requests.append("of another process")
    assert elsewhere.stop_requested()
    assert not issubclass(StoppedEarly, Exception)  # which jobs catch


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_the_flag_and_handlers_come_back(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before, stop = [*map(signal.getsignal, SIGNALS)], StopFlag()
    with stopped_by_signals(stop) as caught:
        assert not stop.stop_requested()
        os.kill(os.getpid(), number)
        assert stop.stop_requested()
    assert caught.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert [*map(signal.getsignal, SIGNALS)] == before
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
