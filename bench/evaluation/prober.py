"""Everything that a cell's metrics ask a model, pristine or edited, through every channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.provenance import Clock
from bench.evaluation.answers import Answered
from bench.evaluation.batching import Course, Room
from bench.evaluation.checkpoint_answers import AskedSoFar
from bench.evaluation.metrics import Channel, TokenAnswer
from bench.evaluation.pristine import PristineAnswers
from bench.evaluation.probing import (
    Both,
    Forced,
    Ids,
    Item,
    Steering,
    generate,
    predict,
    predict_and_generate,
    unsteered,
)
from editors.base import Editor
from editors.parts.generation import text_of
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import RetrievalText, seen_text

BARE = "{}"  # a generation prompt that is the question itself


@dataclass(frozen=True)
class Prober:
    """Asks in batches and keeps the time of phases `pristine`, `probe` and `generate`."""

    lm: LanguageModel
    clock: Clock
    template: str | None  # of the generation prompt; None skips generation
    room: Room  # in a batch
    known: PristineAnswers | None = None  # of the unedited model; None asks anew
    between: Callable[[], None] = lambda: None  # is called behind each batch to the unedited model

    def pristine(self, items: Sequence[Item]) -> list[Answered]:
        """Answers of the unedited model, locality's reference; it retrieves nothing."""
        with self.clock.phase("pristine"):
            return (
                self._unedited(items)
                if self.known is None
                else self.known.of(items, self._unedited)
            )

    def edited(
        self, items: Sequence[Item], editor: Editor[Any], so_far: AskedSoFar
    ) -> list[Answered]:
        """Answers as edited, in both retrieval-text modes; `so_far` has them as they come."""
        with editor.remembering():
            if self.template == BARE and editor.steers_by_prompt:
                with self.clock.phase("probe"):
                    return self._by_prompt(items, editor, so_far)
            with self.clock.phase("probe"):
                courses = so_far.forced
                forced = self._forced(
                    items, editor.steering, "teacher_forced", courses["teacher_forced"]
                )
                honest = self._also(items, editor, forced, "prompt_only", courses["prompt_only"])
            with self.clock.phase("generate"):
                generated = self._generated(items, editor.steering, so_far.generated)
        return self._join({"teacher_forced": forced, "prompt_only": honest}, generated)

    def _by_prompt(
        self, items: Sequence[Item], editor: Editor[Any], so_far: AskedSoFar
    ) -> list[Answered]:
        """As `edited`; what the prompt alone retrieves answers both ways, from one reading."""
        honest, generated = self._together(
            items, editor.steering, so_far.together, shrink=editor.steers_alike
        )
        course = so_far.forced["teacher_forced"]
        forced = self._also(items, editor, honest, "teacher_forced", course)
        return self._join({"teacher_forced": forced, "prompt_only": honest}, generated)

    def _together(
        self, items: Sequence[Item], steering: Steering, course: Course[Both], *, shrink: bool
    ) -> tuple[list[Forced], list[Ids]]:
        """Teacher-forced and generated answers from one reading of each prompt."""
        found = predict_and_generate(
            self.lm, items, steering, shrink=shrink, batch_size=self.room, course=course
        )
        return [forced for forced, _ in found], [ids for _, ids in found]

    def _unedited(self, items: Sequence[Item]) -> list[Answered]:
        if self.template == BARE:
            course = Course[Both](behind=self.between)
            forced, generated = self._together(items, unsteered, course, shrink=True)
            return self._join({"teacher_forced": forced}, generated)
        forced = self._forced(items, unsteered, "teacher_forced", Course(behind=self.between))
        answers = self._generated(items, unsteered, Course(behind=self.between))
        return self._join({"teacher_forced": forced}, answers)

    def _also(
        self,
        items: Sequence[Item],
        editor: Editor[Any],
        known: Sequence[Forced],
        retrieval_text: RetrievalText,
        course: Course[Forced],
    ) -> list[Forced]:
        """Answers with another text to retrieve by than those known; asked only where it tells."""
        answers = list(known)
        if not editor.retrieves_text:
            return answers
        asked = self._otherwise_retrieved(items, editor, known)
        again = self._forced([items[i] for i in asked], editor.steering, retrieval_text, course)
        for i, answer in zip(asked, again, strict=True):
            answers[i] = answer
        return answers

    def _otherwise_retrieved(
        self, items: Sequence[Item], editor: Editor[Any], forced: Sequence[Forced]
    ) -> list[int]:
        """The items whose prompt retrieves something else than prompt and target do together."""
        longer = [i for i, answer in enumerate(forced) if len(answer.target_ids) > 1]
        prompts = [items[i].prompt for i in longer]
        seen = [seen_text(self.lm.tokenizer, items[i].prompt, forced[i].target_ids) for i in longer]
        alone, together = (self._retrieved(texts, editor) for texts in (prompts, seen))
        if alone is None or together is None:
            return longer
        rows = zip(longer, alone, together, strict=True)
        return [i for i, by_prompt, by_both in rows if by_prompt != by_both]

    def _retrieved(self, texts: Sequence[str], editor: Editor[Any]) -> list[int] | None:
        rows: list[int] = []
        for start in range(0, len(texts), self.room.rows):
            some = editor.retrieved(texts[start : start + self.room.rows])
            if some is None:
                return None
            rows += some
        return rows

    def _forced(
        self,
        items: Sequence[Item],
        steering: Steering,
        retrieval_text: RetrievalText,
        course: Course[Forced],
    ) -> list[Forced]:
        return predict(
            self.lm,
            items,
            steering,
            retrieval_text=retrieval_text,
            batch_size=self.room,
            course=course,
        )

    def _generated(
        self, items: Sequence[Item], steering: Steering, course: Course[Ids]
    ) -> list[Ids] | None:
        if self.template is None:
            return None
        return generate(
            self.lm,
            items,
            steering,
            template=self.template,
            batch_size=self.room,
            course=course,
        )

    def _join(
        self, forced: dict[Channel, list[Forced]], generated: list[Ids] | None
    ) -> list[Answered]:
        """One `Answered` per item, with the predictions as text beside their ids."""
        joined = []
        for i, first in enumerate(forced["teacher_forced"]):
            ids = {channel: answers[i].predicted_ids for channel, answers in forced.items()}
            if generated is not None:
                ids["generated"] = generated[i]
            texts = {channel: self._answer(row) for channel, row in ids.items()}
            joined.append(Answered(first.target_ids, texts, first.log_probability))
        return joined

    def _answer(self, ids: Ids) -> TokenAnswer:
        return TokenAnswer(ids=list(ids), text=text_of(self.lm.tokenizer, ids))
