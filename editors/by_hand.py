"""Editing a Hugging Face model by hand, without the benchmark around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editors import registry
from editors.base import Editor, EditRequest, EditSample, Hparams, Resources, TrainableEditor
from editors.parts.covariance import second_moments
from editors.parts.generation import Stop, greedy, text_of
from editors.parts.language_model import LanguageModel
from editors.parts.templates import BARE, generate_templates
from editors.parts.tokens import batch_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_LONGEST = (
    4096  # tokens of a text of key statistics, where the context is longer; as `bench` has it
)
_HUB_SUFFIX = "-hf"  # of names on the model hub, which presets leave out


@dataclass(frozen=True, kw_only=True)
class Given:
    """What an editor may need beside the model, as a user has it."""

    weights: str | Path | None = None  # a trainable editor's own, a safetensors file
    encoder: str | Path | None = None  # directory of a sentence encoder
    # By block: the key covariance [m, m], or the file that `python -m bench stats` wrote of it.
    covariance: Mapping[int, Tensor | str | Path] | None = None
    texts: str | Path | Iterable[str] | None = None  # plain texts, or a file with one a line
    training: Sequence[EditSample] | None = None
    templates: Sequence[str] | None = None  # context templates; by default the model writes them
    seed: int = 0


class HandEditor:
    """An editor with its model: edit, ask, reset. Edits add up until they are reset."""

    def __init__(self, editor: Editor[Any]) -> None:
        self.editor = editor

    def edit(
        self,
        requests: EditRequest | Sequence[EditRequest] = (),
        *,
        prompt: str | None = None,
        target: str | None = None,
        subject: str | None = None,
    ) -> None:
        """Make requests, one after another, and the one that is spelt out.

        Args:
            requests: ready-made ones.
            prompt: what the model is asked.
            target: what it shall answer.
            subject: what the fact is about, as the prompt spells it; editors that look for it take
                the prompt's last token where it is not named.

        Raises:
            ValueError: nothing to edit, or a prompt without a target.
        """
        made = [requests] if isinstance(requests, EditRequest) else list(requests)
        if prompt is not None and target is not None:
            made.append(EditRequest(prompt=prompt, target=target.lstrip(), subject=subject or ""))
        elif not made or prompt is not None or target is not None:
            raise ValueError("An edit wants prompt= and target=, and better subject= too.")
        for request in made:
            self.editor.edit([request])

    def generate(self, prompt: str, *, max_new_tokens: int = 20) -> str:
        """The model's greedy answer as edited, up to its end-of-text token.

        Raises:
            ValueError: prompt and answer do not fit the model's context.
        """
        (answer,) = self.generate_all([prompt], max_new_tokens=max_new_tokens)
        return answer

    def generate_all(self, prompts: Sequence[str], *, max_new_tokens: int = 20) -> list[str]:
        """As `generate`, of several prompts in one batch, which changes no answer."""
        if not prompts:
            return []
        lm = self.editor.lm
        pairs = [(prompt, "") for prompt in prompts]
        batch = batch_of(lm.tokenizer, pairs, device=lm.device)
        with self.editor.steering(batch):
            rows = greedy(lm, batch, max_new_tokens=max_new_tokens, stop=Stop.natural(lm.tokenizer))
        return [text_of(lm.tokenizer, ids).strip() for ids in rows]

    def reset(self) -> None:
        """Undo all edits, to the bit."""
        self.editor.reset()


def get_editor(
    name: str,
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
) -> HandEditor:
    """An editor of a causal language model of Hugging Face.

    The model is put into eval mode and frozen.

    Args:
        name: of an editor, or the path of a Python file with one.
        model: of a known architecture.
        tokenizer: the model's.
        hparams: all hyper-parameters, or those that differ from the preset's.
        preset: its name; by default that of the model, as far as there is one, else `default`.
        weights: file of a trainable editor's weights.
        encoder: directory of a sentence encoder, for retrieval editors.
        covariance: of ROME and its like, by block; computed from `texts` where it is not given.
        texts: plain texts, or a file with one a line.
        training: edits that an editor reads without being trained on them.
        templates: context templates of ROME and its like.
        seed: of the editor's own draws.

    Raises:
        ValueError: no such editor or architecture, or something it needs is not given; the sentence
            says what to pass.
        OSError: a file is not there.
    """
    named = str(model.config.name_or_path or "").rstrip("/").rpartition("/")[2]
    known = named.casefold().removesuffix(_HUB_SUFFIX) or "unnamed"
    lm = LanguageModel(model, tokenizer, name=known)
    cls = registry.editor_class(name)
    chosen = _hparams(name, hparams, preset, known)
    given = Given(
        weights=weights,
        encoder=encoder,
        covariance=covariance,
        texts=texts,
        training=training,
        templates=templates,
        seed=seed,
    )
    lacking = list(_lacking(cls, chosen, given, lm.n_layers))
    if lacking:
        raise ValueError(f"{cls.label} on this model needs {'; and '.join(lacking)}.")
    editor = registry.get_editor(name, lm, chosen, _resources(lm, chosen, given))
    editor.reset()
    return HandEditor(editor)


def _hparams(
    name: str, hparams: Hparams | Mapping[str, Any] | None, preset: str | None, model: str
) -> Hparams:
    if isinstance(hparams, Hparams):
        return hparams
    found = registry.hparams_for(name, model)
    if preset is not None:
        found = registry.preset_of(name, preset)
    return type(found).from_dict(found.to_dict() | dict(hparams)) if hparams else found


def _lacking(
    cls: type[Editor[Any]], hparams: Hparams, given: Given, n_layers: int
) -> Iterator[str]:
    """What is needed and not given, with how to give it."""
    if issubclass(cls, TrainableEditor) and given.weights is None:
        yield "weights=, the file of its trained weights (python -m bench train makes it)"
    if cls.uses_encoder and given.encoder is None:
        yield "encoder=, the directory of a sentence encoder"
    layers = hparams.covariance_layers(n_layers)
    missing = [layer for layer in layers if layer not in (given.covariance or {})]
    if missing and given.texts is None:
        blocks = ", ".join(map(str, missing))
        yield (
            f"covariance=, the key covariance of block {blocks}, or texts=, plain texts to "
            "compute it from"
        )
    if hparams.reads_corpus and given.texts is None:
        yield "texts=, lines of plain text"
    if hparams.reads_training and not given.training:
        yield "training=, edits that no test asks for"


def _resources(lm: LanguageModel, hparams: Hparams, given: Given) -> Resources:
    """What the pristine model's editor is made with."""
    lines = _lines(given.texts)
    templates = given.templates
    if templates is None:
        lengths = hparams.template_lengths
        templates = generate_templates(lm, lengths) if lengths else (BARE,)
    matrices = _covariances(lm, hparams.covariance_layers(lm.n_layers), given.covariance, lines)
    return Resources(
        encoder=None if given.encoder is None else Path(given.encoder),
        artefact=None if given.weights is None else Path(given.weights),
        covariance=matrices.__getitem__ if matrices else None,
        templates=tuple(templates),
        corpus=None if lines is None else lambda: lines,
        training=None if given.training is None else lambda: given.training or (),
        seed=given.seed,
    )


def _covariances(
    lm: LanguageModel,
    layers: Sequence[int],
    given: Mapping[int, Tensor | str | Path] | None,
    lines: Sequence[str] | None,
) -> dict[int, Tensor]:
    from safetensors.torch import load_file

    matrices: dict[int, Tensor] = {}
    for layer, one in (given or {}).items():
        matrices[layer] = load_file(one)["matrix"] if isinstance(one, str | Path) else one
    missing = [layer for layer in layers if layer not in matrices]
    if missing and lines is not None:
        longest = min(int(lm.model.config.max_position_embeddings), _LONGEST)
        moments = second_moments(lm, lines, missing, max_length=longest)
        matrices |= {layer: moment.matrix.float() for layer, moment in moments.items()}
    return matrices


def _lines(texts: str | Path | Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(texts, str | Path):
        texts = Path(texts).read_text("utf-8").splitlines()
    return None if texts is None else tuple(text for text in texts if text.strip())
