"""An edited model to talk to: edits that can be taken back, answers before and after them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.evaluation.metrics import answer_in
from bench.evaluation.probing import Item, Steering, generate, unsteered
from editors.base import Editor, EditRequest
from editors.parts.explanations import Explanation
from editors.parts.generation import text_of


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model answers to a question, unedited and edited."""

    question: str
    before: str
    after: str
    explanation: Explanation | None  # None: nothing is looked up for a question

    @property
    def changed(self) -> bool:
        """Whether the edits have changed the answer."""
        return self.before != self.after


class Session:
    """One editor on its model, with the edits made so far.

    Answers are decoded greedily to their natural end, as generated answers are in cells, and a
    question is looked up by its own text.
    """

    def __init__(self, editor: Editor[Any]) -> None:
        self.editor = editor
        self._edits: list[EditRequest] = []
        self._before: dict[str, str] = {}  # answers of the unedited model, by question
        editor.reset()

    @property
    def edits(self) -> tuple[EditRequest, ...]:
        """The edits in force, in order."""
        return tuple(self._edits)

    def edit(self, request: EditRequest) -> None:
        """Make an edit on top of the others; one that fails or is interrupted leaves nothing."""
        with self._kept_on_failure():
            self.editor.edit([request])
        self._edits.append(request)

    def undo(self) -> EditRequest | None:
        """Take back the last edit and return it; None where there is none.

        All edits are undone and the others made again: a reset is exact to the bit, and so is what
        the same edits make of the same model. One that is interrupted takes nothing back.
        """
        if not self._edits:
            return None
        with self._kept_on_failure():
            self._make(self._edits[:-1])
        return self._edits.pop()

    def reset(self) -> int:
        """Take back all edits; how many there were. One that is interrupted takes nothing back."""
        with self._kept_on_failure():
            self.editor.reset()
        count = len(self._edits)
        self._edits.clear()
        return count

    def ask(self, question: str) -> Reply:
        """The answers to a question, and what was looked up for it.

        Raises:
            ValueError: the question does not fit the model's context.
        """
        before = self._unedited(question)
        told = self.editor.explain([question])
        return Reply(
            question=question,
            before=before,
            after=self._answer(question, self.editor.steering) if self._edits else before,
            explanation=None if told is None else told[0],
        )

    def _unedited(self, question: str) -> str:
        if question not in self._before:
            with self._unedited_model():
                self._before[question] = self._answer(question, unsteered)
        return self._before[question]

    def _answer(self, question: str, steering: Steering) -> str:
        item = Item(aspect="reliability", kind="question", prompt=question, target="")
        (ids,) = generate(self.editor.lm, [item], steering)
        return answer_in(text_of(self.editor.lm.tokenizer, ids)).strip()

    @contextmanager
    def _unedited_model(self) -> Iterator[None]:
        """The model without its edits, which are back afterwards, exactly."""
        if not self._edits:
            yield
            return
        with self._kept_on_failure():
            state = self.editor.state_dict()
            self.editor.reset()
            try:
                yield
            finally:
                self.editor.load_state_dict(state)

    @contextmanager
    def _kept_on_failure(self) -> Iterator[None]:
        """Whatever goes wrong, Ctrl-C too: the edits in force are those before."""
        try:
            yield
        except BaseException:
            self._make(self._edits)
            raise

    def _make(self, requests: Sequence[EditRequest]) -> None:
        """Make edits anew on the unedited model."""
        self.editor.reset()
        for request in requests:
            self.editor.edit([request])
