"""Editing a Hugging Face model by hand, without the benchmark around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from editors import registry
from editors.base import Editor, EditRequest, EditSample, Hparams, Resources, TrainableEditor
from editors.parts.checks import TARGET, check_count, check_list, check_text, described
from editors.parts.covariance import check_moment, second_moments
from editors.parts.generation import BeyondWindowError, Stop, greedy
from editors.parts.language_model import (
    LanguageModel,
    block_number,
    check_answers,
    known_as,
    name_of,
)
from editors.parts.saved_edits import answers_by_weights, load, save
from editors.parts.steered_generation import steered_generate, warn_outside
from editors.parts.target_value import BARE, generate_templates
from editors.parts.texts import as_spelt
from editors.parts.tokens import TokenBatch, batch_of, prompt_ids, target_ids, text_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from editors.parts.retrieving import Explanation

# Tokens of a text that key statistics read, where the context is longer; the same as in `bench`.
_LONGEST = 4096
_HUB_SUFFIX = "-hf"  # of names on the model hub, which presets leave out

Steering = Callable[[TokenBatch], AbstractContextManager[None]]


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
    """An editor on its model, with the edits applied so far: edit, ask, undo, reset, save, load.

    Whatever goes wrong in a call, Ctrl-C included, the edits before it stay in force. Within
    `with session:` the model's own `generate` answers as edited too; outside of it only edits of
    weights show there, and others let it warn once.
    """

    def __init__(self, editor: Editor[Any]) -> None:
        self.editor = editor
        self._edits: list[EditRequest] = []
        self._before: dict[str, str] = {}  # answers of the unedited model, by question
        self._steered: list[AbstractContextManager[None]] = []
        editor.reset()

    def __repr__(self) -> str:
        count = len(self._edits)
        edits = f"{count:,} edit{'' if count == 1 else 's'}"
        return f"<Session: {self.editor.label} on {self.editor.lm.name}, {edits}>"

    def __enter__(self) -> Self:
        steered = steered_generate(self.editor)
        steered.__enter__()
        self._steered.append(steered)
        return self

    def __exit__(self, *error: Any) -> None:
        self._steered.pop().__exit__(*error)

    @property
    def edits(self) -> tuple[EditRequest, ...]:
        """The edits in force, in order."""
        return tuple(self._edits)

    def edit(
        self,
        requests: EditRequest | Sequence[EditRequest] = (),
        *,
        prompt: str | None = None,
        target: str | None = None,
        subject: str | None = None,
    ) -> None:
        """Apply requests one after another, then the one given by its parts.

        Args:
            requests: finished ones.
            prompt: what the model is asked.
            target: what it shall answer.
            subject: what the fact is about, as the prompt spells it; without it, editors that
                need the subject take the prompt's last token.

        Raises:
            ValueError: nothing to edit, a prompt without a target, what is no text, or an edit
                beyond the model's context; none is applied then.
        """
        given = [requests] if isinstance(requests, EditRequest) else requests
        edits: list[EditRequest] = check_list("requests", given, EditRequest, "EditRequest objects")
        if prompt is not None and target is not None:
            text = check_text(TARGET, target).strip()
            about = "" if subject is None else subject
            edits.append(EditRequest(prompt=prompt, target=text, subject=about))
        elif not edits or prompt is not None or target is not None:
            raise ValueError("An edit wants prompt= and target=, and better subject= too.")
        edits = [replace(r, subject=as_spelt(r.subject, r.prompt)) for r in edits]
        for request in edits:
            self._check_room(request)
        _check_gradients()
        for request in edits:
            with self._restored_on_failure():
                self.editor.edit([request])
            self._edits.append(request)
        self._mark()

    def undo(self) -> EditRequest | None:
        """Take back the last edit and return it; None where there is none.

        All edits are undone and the others applied again: a reset is exact to the bit, and the
        same edits change the same model in the same way.
        """
        if not self._edits:
            return None
        with self._restored_on_failure():
            self._apply(self._edits[:-1])
        last = self._edits.pop()
        self._mark()
        return last

    def reset(self) -> int:
        """Take back all edits, to the bit; returns how many there were."""
        with self._restored_on_failure():
            self.editor.reset()
        count = len(self._edits)
        self._edits.clear()
        self._mark()
        return count

    def save(self, directory: str | Path, **facts: Any) -> Path:
        """Write the edits in force to a new directory.

        Where the weights answer (ROME, MEMIT, ..), that is the whole edited model as a plain
        directory of Hugging Face; otherwise the editor's state, for `load`.

        Raises:
            ValueError: there is no edit.
            OSError: the directory is there, or cannot be written.
        """
        return save(self.editor, self._edits, Path(directory), facts)

    def load(self, directory: str | Path) -> None:
        """Replace the edits by those that `save` wrote of the same editor and model.

        Raises:
            FileNotFoundError: no saved edits.
            ValueError: a whole model, or edits of another editor or model.
        """
        with self._restored_on_failure():
            edits = load(self.editor, Path(directory))
        self._edits[:] = edits
        self._mark()

    def explain(self, question: str) -> Explanation | None:
        """What is looked up for a question; None where the editor looks nothing up."""
        explanations = self.editor.explain([check_text("A question", question)])
        return None if explanations is None else explanations[0]

    def generate(self, prompt: str, *, max_new_tokens: int = 20) -> str:
        """The edited model's greedy answer, up to its end-of-text token.

        Raises:
            ValueError: no text, no whole number of at least 1, or more than the model's context.
        """
        return self.generate_all([prompt], max_new_tokens=max_new_tokens)[0]

    def generate_all(self, prompts: Sequence[str], *, max_new_tokens: int = 20) -> list[str]:
        """As `generate`, of several prompts in one batch, which changes no answer."""
        texts = check_list("prompts", prompts, object, "texts")
        most = check_count("max_new_tokens", max_new_tokens, 1)
        return self._decoded(texts, self.editor.steering, most) if texts else []

    def ask(self, question: str) -> Reply:
        """The answers to a question before and after the edits, and what was looked up for it.

        Raises:
            ValueError: the question does not fit the model's context, or is no text.
        """
        check_text("A question", question)
        if question not in self._before:
            self._before[question] = self._unedited_answer(question)
        before = self._before[question]
        return Reply(
            question=question,
            before=before,
            after=self.answer(question, self.editor.steering) if self._edits else before,
            explanation=self.explain(question),
        )

    def answer(self, question: str, steering: Steering) -> str:
        """How `ask` decodes an answer under a steering."""
        return self._decoded([question], steering, 20)[0]

    def _decoded(self, prompts: Sequence[str], steering: Steering, most: int) -> list[str]:
        lm = self.editor.lm
        for prompt in prompts:
            check_text("A prompt", prompt)
        batch = batch_of(lm.tokenizer, [(prompt, "") for prompt in prompts], device=lm.device)
        try:
            with steering(batch):
                rows = greedy(lm, batch, max_new_tokens=most, stop=Stop.natural(lm))
        except BeyondWindowError:
            return [self._decoded([prompt], steering, most)[0] for prompt in prompts]
        return [text_of(lm.tokenizer, ids).strip() for ids in rows]

    def _check_room(self, request: EditRequest) -> None:
        """Refuse an edit that is longer than the context, in the longest of its templates."""
        lm = self.editor.lm
        filled = [t.replace("{}", request.prompt, 1) for t in self.editor.resources.templates]
        prompt = max(len(prompt_ids(lm.tokenizer, text)) for text in filled)
        length = prompt + len(target_ids(lm.tokenizer, request.target, request.prompt))
        context = int(lm.model.config.max_position_embeddings)
        if length > context:
            raise ValueError(
                f"An edit of {length:,} tokens does not fit the context of {context:,} tokens of "
                f"{lm.name}."
            )

    def _unedited_answer(self, question: str) -> str:
        """The answer without edits, which are in force again afterwards, exactly."""
        if not self._edits:
            return self.answer(question, lambda _: nullcontext())
        with self._restored_on_failure():
            state = self.editor.state_dict()
            self.editor.reset()
            answer = self.answer(question, lambda _: nullcontext())
            self.editor.load_state_dict(state)
        return answer

    def _mark(self) -> None:
        """Let the model's own `generate` say where it does not show the edits."""
        if not self._steered and not answers_by_weights(self.editor):
            warn_outside(self.editor, edited=bool(self._edits))

    @contextmanager
    def _restored_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._apply(self._edits)
            raise

    def _apply(self, requests: Sequence[EditRequest]) -> None:
        """Apply edits to the unedited model."""
        self.editor.reset()
        for request in requests:
            self.editor.edit([request])


def get_editor(
    name: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    hparams: Hparams | Mapping[str, Any] | None = None,
    preset: str | None = None,
    weights: str | Path | None = None,
    encoder: str | Path | None = None,
    covariance: Mapping[int, Tensor | str | Path] | None = None,
    texts: str | Path | Iterable[str] | None = None,
    training: Sequence[EditSample] | None = None,
    templates: Sequence[str] | None = None,
    seed: int = 0,
) -> Session:
    """A session with an editor of a causal language model of Hugging Face.

    The model is put into eval mode and frozen.

    Args:
        name: of an editor, or the path of a Python file with one.
        model: of a known architecture.
        tokenizer: the model's.
        hparams: all hyper-parameters, or those that differ from the preset's.
        preset: its name; by default that of the model, as far as there is one, else `default`.
        weights: file of a trainable editor's weights.
        encoder: directory of a sentence encoder, for retrieval editors.
        covariance: key covariances [m, m] of ROME and its like, by block, or the files that
            `python -m bench stats` wrote of them; computed from `texts` where they are missing.
        texts: plain texts, or a file with one a line.
        training: edits that an editor reads without being trained on them.
        templates: context templates of ROME and its like; by default the model writes them.
        seed: of the editor's own draws.

    Raises:
        ValueError: no such editor or architecture, or something it needs is missing; the sentence
            says what to pass.
        OSError: a file does not exist.
    """
    name = check_text("The name of an editor", str(name) if isinstance(name, Path) else name)
    _check_model(model, tokenizer)
    called = name_of(str(model.config.name_or_path or "")).casefold().removesuffix(_HUB_SUFFIX)
    lm = LanguageModel(model, tokenizer, name=called or "unnamed")
    check_answers(lm)
    cls = registry.editor_class(name)
    check_count("seed", seed, 0)
    if training is not None:
        training = check_list("training", training, EditSample, "EditSample objects")
    if templates is not None:
        templates = _checked_templates(templates)
    if not isinstance(covariance, Mapping | None):
        raise ValueError(f"covariance: expected one for each block, got {described(covariance)}.")
    if not isinstance(hparams, cls.hparams_class | Mapping | None):
        raise ValueError(
            f"hparams: expected names with values or {cls.hparams_class.__name__}, got "
            f"{described(hparams)}."
        )
    if isinstance(hparams, Hparams):
        chosen = hparams
    else:
        base = registry.hparams_for(name, known_as(model.config.to_dict(), called) or lm.name)
        base = base if preset is None else registry.preset_of(name, preset)
        chosen = type(base).from_dict(base.to_dict() | dict(hparams or {}))
    blocks = [b for b in chosen.covariance_layers(lm.n_layers) if b not in (covariance or {})]
    needs = {  # how to pass it: whether it is missing
        "weights=, the file of its trained weights (python -m bench train makes it)": (
            issubclass(cls, TrainableEditor) and weights is None
        ),
        "encoder=, the directory of a sentence encoder": cls.uses_encoder and encoder is None,
        f"covariance=, the key covariance of block {', '.join(map(str, blocks))}, or texts=, "
        "plain texts to compute it from": bool(blocks) and texts is None,
        "texts=, lines of plain text": chosen.reads_corpus and texts is None,
        "training=, edits that no test asks about": chosen.reads_training and not training,
    }
    if any(needs.values()):
        missing = "; and ".join(how for how, is_missing in needs.items() if is_missing)
        raise ValueError(f"{cls.label} on this model needs {missing}.")
    lines = _lines(texts)
    matrices = _covariances(lm, blocks, covariance or {}, lines or ())
    if templates is None:
        templates = generate_templates(lm, chosen.template_lengths)
    resources = Resources(
        encoder=None if encoder is None else Path(encoder),
        artefact=None if weights is None else Path(weights),
        covariance=matrices.__getitem__ if matrices else None,
        templates=tuple(templates),
        corpus=None if lines is None else lambda: lines,
        training=None if training is None else lambda: training,
        seed=seed,
    )
    return Session(registry.get_editor(name, lm, chosen, resources))


def _covariances(
    lm: LanguageModel,
    blocks: Sequence[int],
    given: Mapping[int, Tensor | str | Path],
    lines: Sequence[str],
) -> dict[int, Tensor]:
    """The given key covariances, and those of further blocks computed from lines."""
    matrices = {}
    for key, source in given.items():
        block = block_number(check_count("A block of covariance", key, 0), 0.0, lm.n_layers)
        weight = lm.module(lm.architecture.mlp_out, block).get_parameter("weight")
        size = lm.architecture.as_out_in(weight).shape[1]
        matrices[block] = _covariance_in(source) if isinstance(source, str | Path) else source
        check_moment(matrices[block], block, size)
    if blocks:
        longest = min(int(lm.model.config.max_position_embeddings), _LONGEST)
        moments = second_moments(lm, lines, blocks, max_length=longest)
        matrices |= {block: moment.matrix.float() for block, moment in moments.items()}
    return matrices


def _covariance_in(file: str | Path) -> Tensor:
    """The covariance in a file that `python -m bench stats` wrote."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)["matrix"]
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"covariance: {file} holds no key covariance: {error}.") from error


def _checked_templates(templates: Any) -> list[str]:
    """Templates, of which the first is the bare prompt, each with one place for a prompt."""
    members: list[str] = check_list("templates", templates, str, "texts")
    if members[:1] != [BARE] or any(text.count(BARE) != 1 for text in members):
        raise ValueError(
            f"templates: expected {BARE!r} first, and {BARE} once in each, got {members!r:.80}."
        )
    return members


def _lines(texts: str | Path | Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(texts, str | Path):
        texts = Path(texts).read_text("utf-8-sig").splitlines()
    if texts is None:
        return None
    return tuple(text for text in check_list("texts", texts, str, "texts") if text.strip())


def _check_model(model: Any, tokenizer: Any) -> None:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    for value, kind in ((model, PreTrainedModel), (tokenizer, PreTrainedTokenizerBase)):
        if not isinstance(value, kind):
            raise ValueError(f"Expected a {kind.__name__} of transformers, got {described(value)}.")
    if not model.can_generate():
        raise ValueError(
            f"Expected a model with a head that predicts tokens (AutoModelForCausalLM), got a "
            f"{type(model).__name__}."
        )
    rows = model.get_input_embeddings().num_embeddings
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= rows:
        raise ValueError(
            f"The tokenizer has ids up to {largest:,}, but the model has {rows:,} embedding rows; "
            "wanted the tokenizer of this model."
        )
    _check_gradients()


def _check_gradients() -> None:
    """Refuse to work where tensors cannot have gradients, whatever an editor asks for."""
    if torch.is_inference_mode_enabled():
        raise ValueError("Editors need gradients: leave torch.inference_mode().")
