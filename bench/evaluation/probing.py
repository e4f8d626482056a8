"""Probing: everything that a cell's metrics ask the pristine model and the edited one.

A `Prober` asks; `health_of` compares the answers of both: did the edits of a block change the model
at all, and are its outputs still numbers? Tables report that by name (their daggers), so that it is
not hidden in a mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from bench.core.numerics import Clock
from bench.evaluation.inference import (
    BatchLimit,
    Both,
    Forced,
    Ids,
    PartialAnswers,
    Steering,
    generate,
    predict,
    predict_and_generate,
    unsteered,
)
from bench.evaluation.metrics import Aspect, Channel, TokenAnswer
from editors.base import Editor, EditSample, Probe
from editors.parts.fast_paths import fast_paths
from editors.parts.language_model import LanguageModel, why_no_numbers
from editors.parts.tokens import RetrievalText, seen_text, text_of

BARE = "{}"  # a generation prompt that is the question itself


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a sample; `target` is its answer, or what is forced for locality."""

    aspect: Aspect
    kind: str
    prompt: str
    target: str
    aliases: tuple[str, ...] = ()  # other right answers, where one is decoded
    hops: tuple[tuple[str, str], ...] = ()  # as in `Probe`


@dataclass(frozen=True)
class ItemAnswers:
    """One item's target ids, its answers by channel, and how probable the target was."""

    target_ids: tuple[int, ...]
    channels: dict[Channel, TokenAnswer]
    log_probability: float  # teacher-forced


class BlockHealth(TypedDict):
    """The effect of a block's edits on the model, whatever its answers."""

    block: int
    effect: float | None  # largest change of any item's log-probability; None: it is NaN
    # The edit, from 1, after which the output for its own request is NaN; None where the output for
    # another question of the block is.
    diverged_at: int | None


def items_of(sample: EditSample) -> list[Item]:
    """The edit request itself, then the generality, locality and portability of a sample."""

    def item(aspect: Aspect, probe: Probe) -> Item:
        return Item(
            aspect=aspect, kind=probe.kind, prompt=probe.prompt, target=probe.target,
            aliases=probe.aliases, hops=probe.hops,
        )  # fmt: skip

    request = sample.request
    edit = Probe(
        kind="request", prompt=request.prompt, target=request.target, aliases=sample.aliases
    )
    return [
        item("reliability", edit),
        *(item("generality", probe) for probe in sample.generality),
        *(item("locality", probe) for probe in sample.locality),
        *(item("portability", probe) for probe in sample.portability),
    ]


def hop_items(items: Iterable[Item]) -> list[Item]:
    """The questions about other facts that some items need, each once."""
    hops = dict.fromkeys(hop for item in items for hop in item.hops)
    return [
        Item(aspect="portability", kind="hop", prompt=prompt, target=target)
        for prompt, target in hops
    ]


class BlockAnswers:
    """The answers to a block's questions so far, by channel: what a checkpoint holds of probing."""

    def __init__(
        self, after_batch: Callable[[], None], stored: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        """With what `to_dict` stored of them."""
        stored = stored or {}
        self.forced: dict[Channel, PartialAnswers[Forced]] = {
            channel: PartialAnswers(list(map(_forced, stored.get(channel, ()))), after_batch)
            for channel in ("teacher_forced", "prompt_only")
        }
        ids = list(map(tuple, stored.get("generated", ())))
        self.generated: PartialAnswers[Ids] = PartialAnswers(ids, after_batch)
        both = [(_forced(row), tuple(ids)) for row, ids in stored.get("together", ())]
        self.together: PartialAnswers[Both] = PartialAnswers(both, after_batch)

    def to_dict(self) -> dict[str, list[Any]]:
        """Values that JSON can hold."""
        forced = {str(channel): partial.answers for channel, partial in self.forced.items()}
        return forced | {"generated": self.generated.answers, "together": self.together.answers}


@dataclass(frozen=True)
class Prober:
    """Asks everything that a cell's metrics need; times the phases `probe` and `generate`."""

    lm: LanguageModel
    clock: Clock
    template: str | None  # of the generation prompt; None skips generation
    limit: BatchLimit

    def pristine(
        self, items: Sequence[Item], after_batch: Callable[[], None] = lambda: None
    ) -> list[ItemAnswers]:
        """Answers of the unedited model, locality's reference; it retrieves nothing."""
        partial = BlockAnswers(after_batch)
        if self.template == BARE:
            forced, generated = self._together(items, unsteered, partial, shrink=True)
        else:
            forced = self._predict(items, unsteered, "teacher_forced", partial)
            generated = self._generate(items, unsteered, partial)
        return self._join({"teacher_forced": forced}, generated)

    def edited(
        self, items: Sequence[Item], editor: Editor[Any], partial: BlockAnswers
    ) -> list[ItemAnswers]:
        """Answers of the edited model, in both retrieval-text modes.

        Where the prompt alone decides the steering, one reading of it serves teacher forcing and
        generation.
        """
        paths = fast_paths(editor)
        with paths.caching_retrievals():
            if self.template == BARE and paths.steers_by_prompt:
                with self.clock.phase("probe"):
                    honest, generated = self._together(
                        items, editor.steering, partial, shrink=paths.steers_alike
                    )
                    forced = self._with_text(items, editor, honest, "teacher_forced", partial)
            else:
                with self.clock.phase("probe"):
                    forced = self._predict(items, editor.steering, "teacher_forced", partial)
                    honest = self._with_text(items, editor, forced, "prompt_only", partial)
                with self.clock.phase("generate"):
                    generated = self._generate(items, editor.steering, partial)
        return self._join({"teacher_forced": forced, "prompt_only": honest}, generated)

    def _together(
        self, items: Sequence[Item], steering: Steering, partial: BlockAnswers, *, shrink: bool
    ) -> tuple[list[Forced], list[Ids] | None]:
        """Teacher-forced and generated answers from one reading of each prompt."""
        both = predict_and_generate(
            self.lm, items, steering,
            shrink=shrink, batch_size=self.limit, partial=partial.together,
        )  # fmt: skip
        return [forced for forced, _ in both], [ids for _, ids in both]

    def _predict(
        self, items: Sequence[Item], steering: Steering, text: RetrievalText, partial: BlockAnswers
    ) -> list[Forced]:
        return predict(
            self.lm, items, steering,
            retrieval_text=text, batch_size=self.limit, partial=partial.forced[text],
        )  # fmt: skip

    def _generate(
        self, items: Sequence[Item], steering: Steering, partial: BlockAnswers
    ) -> list[Ids] | None:
        if self.template is None:
            return None
        return generate(
            self.lm, items, steering,
            template=self.template, batch_size=self.limit, partial=partial.generated,
        )  # fmt: skip

    def _with_text(
        self,
        items: Sequence[Item],
        editor: Editor[Any],
        known: Sequence[Forced],
        text: RetrievalText,
        partial: BlockAnswers,
    ) -> list[Forced]:
        """Answers with another retrieval text than the known ones; asked where it may differ."""
        answers = list(known)
        if not editor.retrieves_text:
            return answers
        asked = self._retrieving_otherwise(items, editor, known)
        again = self._predict([items[i] for i in asked], editor.steering, text, partial)
        for i, answer in zip(asked, again, strict=True):
            answers[i] = answer
        return answers

    def _retrieving_otherwise(
        self, items: Sequence[Item], editor: Editor[Any], forced: Sequence[Forced]
    ) -> list[int]:
        """The items whose prompt retrieves something else than prompt and target do together."""
        longer = [i for i, answer in enumerate(forced) if len(answer.target_ids) > 1]
        prompts = [items[i].prompt for i in longer]
        seen = [seen_text(self.lm.tokenizer, items[i].prompt, forced[i].target_ids) for i in longer]
        alone, together = self._retrieved(prompts, editor), self._retrieved(seen, editor)
        if alone is None or together is None:
            return longer
        return [i for i, a, b in zip(longer, alone, together, strict=True) if a != b]

    def _retrieved(self, texts: Sequence[str], editor: Editor[Any]) -> list[int] | None:
        rows: list[int] = []
        for start in range(0, len(texts), self.limit.rows):
            part = fast_paths(editor).retrieved(texts[start : start + self.limit.rows])
            if part is None:
                return None
            rows += part
        return rows

    def _join(
        self, forced: Mapping[Channel, Sequence[Forced]], generated: Sequence[Ids] | None
    ) -> list[ItemAnswers]:
        """One `ItemAnswers` per item, with the predictions as text beside their ids."""

        def answer(ids: Ids) -> TokenAnswer:
            return TokenAnswer(ids=list(ids), text=text_of(self.lm.tokenizer, ids))

        joined = []
        for i, first in enumerate(forced["teacher_forced"]):
            channels = {name: answer(rows[i].predicted_ids) for name, rows in forced.items()}
            if generated is not None:
                channels["generated"] = answer(generated[i])
            joined.append(ItemAnswers(first.target_ids, channels, first.log_probability))
        return joined


def check_unedited(lm: LanguageModel, answers: Sequence[Forced | ItemAnswers]) -> None:
    """Refuse a model whose outputs are no numbers before any edit, so that no editor is blamed.

    Raises:
        ValueError: with the first weights that are no numbers, else with the dtype.
    """
    broken = sum(not math.isfinite(answer.log_probability) for answer in answers)
    if not broken:
        return
    raise ValueError(
        f"The unedited model {lm.name} answers {broken:,} of {len(answers):,} questions with no "
        f"numbers (NaN): {why_no_numbers(lm)}."
    )


def health_of(
    number: int,
    block: Sequence[EditSample],
    before: Sequence[Forced | ItemAnswers],
    after: Sequence[Forced | ItemAnswers],
    editor: Editor[Any],
    before_edit: Callable[[], None] = lambda: None,
) -> BlockHealth:
    """Compare the answers of both phases; `editor` holds no edit, and holds none afterwards.

    A block that diverged is edited once more to find the edit where it did, so that a healthy
    stream costs nothing. `before_edit` is called before each of these edits.
    """
    pairs = zip(before, after, strict=True)
    changes = [abs(b.log_probability - a.log_probability) for b, a in pairs]
    if all(map(math.isfinite, changes)):
        return BlockHealth(block=number, effect=max(changes, default=0.0), diverged_at=None)
    diverged_at = None
    try:
        for position, sample in enumerate(block, start=1):
            before_edit()
            editor.edit([sample.request])
            (answer,) = predict(editor.lm, [sample.request], editor.steering)
            if not math.isfinite(answer.log_probability):
                diverged_at = position
                break
    finally:
        editor.reset()
    return BlockHealth(block=number, effect=None, diverged_at=diverged_at)


def _forced(row: Sequence[Any]) -> Forced:
    target, predicted, log_probability = row
    return Forced(tuple(target), tuple(predicted), float(log_probability))
