"""What `try` does with edits and questions: a conversation of lines, or one printed result."""

from __future__ import annotations

import io
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import dropwhile, islice
from typing import Any

from rich.console import Console
from rich.text import Text

from bench import __version__
from bench.core.console import one_line, say, warn
from bench.core.names import unknown_name
from editors import registry
from editors.base import EditRequest, EditSample
from editors.by_hand import Reply, Session
from editors.parts import checks
from editors.parts.retrieving import Explanation
from editors.parts.texts import subject_span

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
_FORM = "PROMPT => NEW ANSWER, or PROMPT => NEW ANSWER @ SUBJECT"
_EXAMPLES = 4
SCHEMA = 1  # of the JSON that one command prints

Line = tuple[str, str, str]  # label, text, style of the text on a terminal


class Conversation:
    """Reads lines from a terminal or a pipe and does what they say, until the end.

    A line that cannot be understood costs nothing but a sentence.
    """

    def __init__(self, session: Session, samples: Callable[[], Sequence[EditSample]]) -> None:
        """`samples` reads the edits that `examples` are taken from."""
        self._session = session
        self._samples = samples
        self._interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._commands: dict[str, Callable[[], None]] = {
            "list": lambda: show(edit_lines(session.edits)),
            "undo": self._undo,
            "reset": self._reset,
            "help": lambda: say(HELP),
            "examples": self._show_examples,
            "edit": self._ask_for_edit,
        }

    def run(self) -> int:
        """Exit code 0 at the end of input, 130 where a pipe was interrupted."""
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        if self._interactive:
            with suppress(ImportError):
                import readline  # noqa: F401 - `input` edits lines and recalls earlier ones with it
            say("Type `help` for the commands, `examples` for something to type.")
        try:
            while (line := self._read(PROMPT).strip()) not in ("quit", "exit"):
                self._do_safely(line)
        except (EOFError, KeyboardInterrupt) as end:
            if self._interactive:
                say("")
            elif isinstance(end, KeyboardInterrupt):
                return 130
        return 0

    def _do_safely(self, line: str) -> None:
        """Do what a line says; an error is one sentence, and leaves the edits as they were."""
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
        return line.removeprefix("\ufeff")  # a byte order mark

    def _do(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if not line:
            return
        if line in self._commands:
            self._commands[line]()
        elif word == "edit":
            self._edit(*parsed_edit(rest))
        elif not rest and line.isalpha() and word != "ask":
            error = unknown_name("command", line, (*self._commands, "ask", "quit"))
            raise ValueError(f"{error} `ask {line}` asks the model for it.")
        else:
            self._ask(rest if word == "ask" else line)

    def _edit(self, prompt: str, target: str, subject: str | None) -> None:
        session = self._session
        request = request_of(prompt, target, subject, wanted=session.editor.uses_subject)
        start = time.perf_counter()
        session.edit(request)
        seconds = time.perf_counter() - start
        label = f"edit {len(session.edits)}"
        show([(label, f"{edit_text(request)}  ({seconds:.2f} s)", "")])
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
        show(reply_lines(self._session.ask(typed(text, "A question")), self._session))

    def _undo(self) -> None:
        request = self._session.undo()
        if request is None:
            raise ValueError("There is no edit to undo.")
        show([("undone", f"{edit_text(request)}  ({len(self._session.edits)} left)", "")])

    def _reset(self) -> None:
        count = self._session.reset()
        show([("reset", f"{count} edit{'s' * (count != 1)} undone", "")])

    def _show_examples(self) -> None:
        """The first samples with probes of both kinds, each of another form of question."""
        by_form: dict[str, EditSample] = {}
        for sample in self._samples():
            if sample.generality and sample.locality:
                form = sample.request.prompt.replace(sample.request.subject, "")
                by_form.setdefault(form, sample)
        for sample in islice(by_form.values(), _EXAMPLES):
            say(f"edit {edit_text(sample.request)}")
            say(f"  {sample.generality[0].prompt}")
            say(f"  {sample.locality[0].prompt}")


# ---- What is typed -----------------------------------------------------------------------------

# A word with what stands around it; a full stop may belong to it.
_WORD = re.compile(r"(?=\S)([^\w\s]*)(\S*?)([^\w\s.]*)(?!\S)")
_FUNCTION_WORD = re.compile(
    "an?|the|[io]n|at|of|to|for|from|by|with|who(m|se)?|which|what|where|when|why|how|is|are|was|were"
    "|do|does|did|can|and|or",
    re.IGNORECASE,
)


def parsed_edit(line: str) -> tuple[str, str, str | None]:
    """(prompt, new answer, subject or None) of a typed edit.

    Raises:
        ValueError: no arrow in it.
    """
    prompt, arrow, rest = line.partition("=>")
    if not arrow:
        raise ValueError(f"An edit is typed as {_FORM}; got {line.strip()!r}.")
    target, at, subject = rest.rpartition(" @ ")
    return (prompt, target, subject) if at else (prompt, rest, None)


def request_of(prompt: str, target: str, subject: str | None, *, wanted: bool) -> EditRequest:
    """The edit that was typed; a subject of None is looked for, as a name in the prompt.

    Raises:
        ValueError: a part is missing, or the editor depends on the subject (`wanted`), and it is
            not in the prompt.
    """
    prompt, target = typed(prompt, checks.PROMPT), typed(target, checks.TARGET)
    names = names_in(prompt)
    if subject is not None:
        span = subject_span(prompt, typed(subject, "A subject"))
        spelt = None if span is None else prompt[slice(*span)]
    else:
        spelt = names[0] if len(names) == 1 else None
    if spelt is not None or not wanted:
        return EditRequest(prompt=prompt, target=target, subject=spelt or subject or "")
    if subject is not None:
        raise ValueError(
            f"The subject {subject!r} is not in the prompt {prompt!r}; it has to be a part of it."
        )
    seen = f"{len(names)} names ({', '.join(map(repr, names))})" if names else "no name"
    raise ValueError(
        f"This editor writes at the subject of the prompt, and there is {seen} in {prompt!r}; "
        "say which part of it is the subject."
    )


def names_in(prompt: str) -> list[str]:
    """Names in a prompt, each once: words that begin with a capital letter, and follow each other.

    A single word at its beginning, which would be capital anyway, counts where there is no other.
    """
    names: list[str] = []
    first: list[str] = []
    for start, words in _capitalised(prompt):
        if start == 0 and len(words) == 1:
            first = [] if _FUNCTION_WORD.fullmatch(words[0]) else [_bare(words[0])]
            continue
        name = _bare(" ".join(dropwhile(_FUNCTION_WORD.fullmatch, words)))
        if name and name not in names:
            names.append(name)
    return names or first


def _capitalised(prompt: str) -> Iterator[tuple[int, list[str]]]:
    """Where neighbouring words with a capital letter begin, and the words."""
    start, words, end = 0, list[str](), -1
    for match in _WORD.finditer(prompt):
        before, word, after = match.groups()
        continues = bool(words) and not before and match.start() == end + 1
        capital = word[:1] != word[:1].lower()
        if words and not (continues and capital):
            yield start, words
            words = []
        if capital:
            start = start if words else match.start(2)
            words.append(word)
            end = match.end() if not after else -1
    if words:
        yield start, words


def _bare(name: str) -> str:
    return name.removesuffix("'s").rstrip(".'-")


def typed(text: str, what: str) -> str:
    """The text without white space around it.

    Raises:
        ValueError: nothing is left, or it is not Unicode.
    """
    return checks.check_text(what, text).strip()


# ---- What is shown -----------------------------------------------------------------------------

_WIDTH = 9  # of labels
# Why nothing is looked up for a question, by the editor's family.
_NOT_LOOKED_UP = {
    "MP": "nothing is retrieved: the edits are in the model's weights",
    "AP": "nothing is retrieved: what the edits added acts on every question",
    "RB": "nothing is retrieved",
}


def show(lines: Iterable[Line]) -> None:
    """Print labelled lines; characters that could steer a terminal are written out."""
    console = Console(highlight=False)
    for label, text, style in lines:
        line = Text.assemble((f"{label:<{_WIDTH}} ", "dim"), (one_line(text), style))
        line.rstrip()
        console.print(line, soft_wrap=True)


def edit_text(request: EditRequest) -> str:
    """An edit as it is typed."""
    at = f" @ {request.subject}" if request.subject else ""
    return f"{request.prompt} => {request.target}{at}"


def edit_lines(edits: Sequence[EditRequest]) -> Iterator[Line]:
    """One line an edit, numbered."""
    for number, request in enumerate(edits, start=1):
        yield f"edit {number}", edit_text(request), ""
    if not edits:
        yield "edits", "none", "dim"


def reply_lines(reply: Reply, session: Session) -> Iterator[Line]:
    """The answers before and after, and why."""
    yield "question", reply.question, ""
    yield "before", reply.before or "(nothing)", ""
    if not session.edits:
        yield "after", "no edits yet", "dim"
        return
    after, style = reply.after or "(nothing)", "bold green"
    if not reply.changed:
        after, style = f"{after}  (unchanged)", "bold"
    yield "after", after, style
    why, editor = reply.explanation, session.editor
    if why is None:  # a user's own editor may retrieve without explaining
        silent = f"{editor.label} does not explain what it retrieves"
        yield "why", silent if editor.retrieves_text else _NOT_LOOKED_UP[editor.family], "dim"
        return
    yield "why", _verdict(why), "cyan" if why.fired else ""
    for candidate in why.candidates:
        text = f"{candidate.row + 1}. {candidate.score:.4g}  {candidate.text}"
        yield ("", f"{text}  <- used", "") if candidate.row == why.used else ("", text, "dim")
    if reply.changed and not why.fired:
        yield "", "the editor's own weights answer otherwise than the model's", "dim"


def _verdict(why: Explanation) -> str:
    if not why.candidates:
        return "nothing is stored"
    best = f"{why.measure} {why.candidates[0].score:.4g}"
    if why.limit is None:
        return f"the nearest stored edit is always used: {best}"
    outcome = "an edit fired" if why.fired else "no edit fired"
    note = f" ({why.note})" if why.note else ""
    return f"{outcome}: best {best}, {why.limit_is} {why.limit:.4g}{note}"


def edit_and_ask(
    session: Session, requests: Sequence[EditRequest], questions: Sequence[str], *, as_json: bool
) -> None:
    """Apply the edits, then ask; without questions, the edits' own prompts."""
    for request in requests:
        session.edit(request)
    replies = [session.ask(q) for q in questions or [request.prompt for request in requests]]
    if as_json:
        say(json.dumps(_plain(session, replies), indent=1))
        return
    show(edit_lines(session.edits))
    for reply in replies:
        say("")
        show(reply_lines(reply, session))


def _plain(session: Session, replies: Iterable[Reply]) -> dict[str, Any]:
    """A whole session as JSON values."""
    editor = session.editor
    facts = {"label": editor.label, "family": editor.family, "hparams": editor.hparams.to_dict()}
    return {
        "schema": SCHEMA,
        "version": __version__,
        "backbone": editor.lm.name,
        "editor": {"key": registry.resolve(editor.label), **facts},
        "edits": [vars(request) for request in session.edits],
        "answers": [
            {name: getattr(reply, name) for name in ("question", "before", "after", "changed")}
            | {"retrieved": reply.explanation and _retrieved(reply.explanation)}
            for reply in replies
        ],
    }


def _retrieved(why: Explanation) -> dict[str, Any]:
    names = ("fired", "used", "measure", "limit_is", "limit", "note")
    return {name: getattr(why, name) for name in names} | {
        "limit": _number(why.limit),
        "candidates": [vars(c) | {"score": _number(c.score)} for c in why.candidates],
    }


def _number(value: float | None) -> float | None:
    """JSON knows no infinity."""
    return value if value is not None and math.isfinite(value) else None
