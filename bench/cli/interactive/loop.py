"""The prompt: lines from a terminal or a pipe, one command or question each."""

from __future__ import annotations

import difflib
import io
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from bench.cli.interactive.requests import parsed_edit, question_of, request_of
from bench.cli.interactive.showing import Line, edit_lines, edit_text, reply_lines, show
from bench.core.console import say, warn

if TYPE_CHECKING:
    from bench.cli.interactive.examples import Example
    from bench.cli.interactive.session import Session

PROMPT = "try> "
HELP = """\
edit PROMPT => NEW ANSWER            make an edit; `edit` alone asks for its parts
edit PROMPT => NEW ANSWER @ SUBJECT  and say what the prompt is about
ask QUESTION, or just QUESTION       the answer before and after the edits, and why
list                                 the edits in force
undo                                 take back the last edit, exactly
reset                                take back all of them
examples                             edits and questions to type
help                                 this
quit                                 end; so do Ctrl-D and Ctrl-C"""


class Loop:
    """Reads lines until the end and does what they say; a bad one costs nothing but a sentence."""

    def __init__(self, session: Session, examples: Callable[[], Sequence[Example]]) -> None:
        self._session = session
        self._examples = examples
        self._interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._alone: dict[str, Callable[[], None]] = {
            "list": self._list,
            "undo": self._undo,
            "reset": self._reset,
            "help": lambda: say(HELP),
            "examples": self._show_examples,
            "edit": self._ask_for_edit,
        }

    def run(self) -> int:
        """Exit code 0 at the end of input, 130 where a pipe was interrupted."""
        self._open()
        try:
            while (line := self._read(PROMPT).strip()) not in ("quit", "exit"):
                self._do_safely(line)
        except EOFError:
            self._leave_prompt()
        except KeyboardInterrupt:
            self._leave_prompt()
            return 0 if self._interactive else 130
        return 0

    def _open(self) -> None:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        if self._interactive:
            with suppress(ImportError):
                import readline  # noqa: F401 - `input` edits lines and recalls earlier ones with it
            say("Type `help` for the commands, `examples` for something to type.")

    def _do_safely(self, line: str) -> None:
        """Do what a line says; what goes wrong is told, and the edits are those of before."""
        try:
            self._do(line)
        except (ValueError, OSError) as error:
            warn(f"error: {' '.join(str(error).split())}")
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            warn("interrupted; the edits are those of before.")

    def _read(self, prompt: str) -> str:
        """A line; only a terminal is shown a prompt."""
        sys.stdout.flush()
        if self._interactive:
            return input(prompt)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    def _leave_prompt(self) -> None:
        if self._interactive:
            say("")

    def _do(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if not line:
            return
        if line in self._alone:
            self._alone[line]()
        elif word == "edit":
            self._edit(*parsed_edit(rest))
        elif word == "ask":
            self._ask(rest)
        elif not rest and line.isalpha():
            raise ValueError(_unknown(line, (*self._alone, "ask", "quit")))
        else:
            self._ask(line)

    def _edit(self, prompt: str, target: str, subject: str | None) -> None:
        session = self._session
        request = request_of(prompt, target, subject, wanted=session.editor.uses_subject)
        start = time.perf_counter()
        session.edit(request)
        seconds = time.perf_counter() - start
        number = len(session.edits)
        show([Line(label=f"edit {number}", text=f"{edit_text(request)}  ({seconds:.2f} s)")])
        self._ask(request.prompt)

    def _ask_for_edit(self) -> None:
        """The parts of an edit, one by one."""
        if not self._interactive:
            parsed_edit("")
        try:
            prompt = self._read("  prompt: ")
            target = self._read("  new answer: ")
            subject = self._read("  subject (Enter finds it in the prompt): ")
        except EOFError:
            say("")
            return
        self._edit(prompt, target, subject if subject.strip() else None)

    def _ask(self, text: str) -> None:
        reply = self._session.ask(question_of(text))
        show(reply_lines(reply, self._session))

    def _list(self) -> None:
        show(edit_lines(self._session.edits))

    def _undo(self) -> None:
        request = self._session.undo()
        if request is None:
            raise ValueError("There is no edit to undo.")
        left = len(self._session.edits)
        show([Line(label="undone", text=f"{edit_text(request)}  ({left} left)")])

    def _reset(self) -> None:
        count = self._session.reset()
        show([Line(label="reset", text=f"{count} edit{'s' * (count != 1)} undone")])

    def _show_examples(self) -> None:
        for one in self._examples():
            say(f"edit {one.prompt} => {one.target} @ {one.subject}")
            say(f"  {one.rephrased}")
            say(f"  {one.unrelated}")


def _unknown(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word.lower(), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"Unknown command {word!r}.{hint} Commands: {', '.join(sorted(known))}; "
        f"`ask {word}` asks the model for it."
    )
