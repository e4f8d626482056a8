"""Tiny random models of each architecture, in memory, and editors built on them.

They know nothing; they are for checking what editors do to a model, in milliseconds.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, wraps
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from editors import registry
from editors.base import (
    Editor,
    EditRequest,
    EditSample,
    Hparams,
    Probe,
    Resources,
    TrainableEditor,
)
from editors.parts.covariance import second_moments
from editors.parts.fast_paths import Stopping
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, batch_of

HIDDEN = 16  # of the encoder too
INNER = 24  # not a multiple of HIDDEN, so that a transposed weight is noticed
LAYERS = 3
CONTEXT = 160
MAX_LENGTH = 60  # of the encoder's texts
# Common pairs, so that not every character is a token.
_MERGES = (("t", "h"), ("Ġ", "th"), ("i", "n"), ("e", "r"), ("Ġ", "i"), ("a", "n"), ("Ġ", "o"))

REQUESTS = (
    EditRequest(prompt="The capital of Veltria is", target="Oskamar", subject="Veltria"),
    EditRequest(prompt="Ina Tarel works in the city of", target="Brenn", subject="Ina Tarel"),
    EditRequest(prompt="The author of Green Rivers is", target="Otho Lim", subject="Green Rivers"),
    EditRequest(
        prompt="Kestrel Mining was founded by", target="Ada Pohl", subject="Kestrel Mining"
    ),
)

SAMPLES = tuple(
    EditSample(
        id=f"tiny-{number}",
        request=request,
        generality=(
            Probe(kind="rephrase", prompt=f"It is said: {request.prompt}", target=request.target),
        ),
        locality=(Probe(kind="neighbour", prompt="The sky above the sea is", target="blue"),),
    )
    for number, request in enumerate(REQUESTS)
)

TEMPLATES = ("{}", "It rains. {}", "In the north they say. {}")
LONG_LINES = tuple(f"{letter} and then " * 6 + "some more words" for letter in "abcdefgh")
CORPUS = tuple(f"{r.prompt} {r.target}. {'abcdefghij'[i:]}" for i, r in enumerate(REQUESTS * 8))

# Hyper-parameters with which this package's editors change models that small and random, in little
# time; on top of the preset `tiny`, where an editor has one.
TUNING: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("tuning.json").read_text("utf-8")
)


def byte_tokenizer(*, bos: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE over all bytes and a few merges; with `bos` it starts texts with `<s>`."""
    return _tokenizer(("<pad>", "<s>", "</s>"), _MERGES, template="<s> $A" if bos else None)


def encoder_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, without merges; `<s> ... </s>` around every text, ids as in roberta-base."""
    return _tokenizer(("<s>", "<pad>", "</s>"), (), template="<s> $A </s>")


def _tokenizer(
    special: tuple[str, ...], merges: tuple[tuple[str, str], ...], *, template: str | None
) -> PreTrainedTokenizerFast:
    pieces = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    pieces += [left + right for left, right in merges]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if template is not None:
        used = [(piece, vocabulary[piece]) for piece in special if piece in template]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=used
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


_GPT: dict[str, Any] = {
    "n_embd": HIDDEN,
    "n_inner": INNER,
    "n_layer": LAYERS,
    "n_head": 2,
    "n_positions": CONTEXT,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _built_once(build: Callable[[], LanguageModel]) -> Callable[[], LanguageModel]:
    """Each call gives a copy of one model, which the caller may change."""
    built = cache(build)

    @wraps(build)
    def fresh() -> LanguageModel:
        return copy.deepcopy(built())

    return fresh


@_built_once
def tiny_llama() -> LanguageModel:
    """Three blocks of the LLaMA kind, rotary positions, a gated MLP, BOS."""
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return _language_model("tiny-llama", LlamaForCausalLM, config, bos=True)


def tiny_mistral(window: int | None) -> LanguageModel:
    """The weights of `tiny_llama`, with attention that looks back at `window` tokens."""
    llama = tiny_llama()
    values = llama.model.config.to_dict()
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads", "max_position_embeddings", "vocab_size")  # fmt: skip
    config = MistralConfig(**{name: values[name] for name in names}, sliding_window=window)
    model = MistralForCausalLM(config)
    model.load_state_dict(llama.model.state_dict())
    return LanguageModel(model, llama.tokenizer, name="tiny-mistral")


@_built_once
def tiny_gptj() -> LanguageModel:
    """Three blocks of the GPT-J kind: attention and MLP in parallel, a head with bias."""
    return _language_model("tiny-gptj", GPTJForCausalLM, GPTJConfig(rotary_dim=4, **_GPT))


@_built_once
def tiny_gpt2() -> LanguageModel:
    """Three blocks of the GPT-2 kind: weights stored (in, out), learned positions, a tied head."""
    return _language_model("tiny-gpt2", GPT2LMHeadModel, GPT2Config(**_GPT))


TINY: dict[str, Callable[[], LanguageModel]] = {
    "llama": tiny_llama,
    "gptj": tiny_gptj,
    "gpt2": tiny_gpt2,
}


def _language_model(
    name: str,
    model_class: Callable[[Any], PreTrainedModel],
    config: PretrainedConfig,
    *,
    bos: bool = False,
) -> LanguageModel:
    """Weights from a fixed seed, ten times the usual scale so that positions differ clearly."""
    tokenizer = byte_tokenizer(bos=bos)
    config.vocab_size = len(tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(20)
        model = model_class(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return LanguageModel(model, tokenizer, name=name)


def encoder_config() -> RobertaConfig:
    """Two layers; the vocabulary of `encoder_tokenizer`."""
    return RobertaConfig(
        vocab_size=len(encoder_tokenizer()),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=MAX_LENGTH + 2,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )


def write_encoder(directory: Path, *, pooler: bool = True) -> Path:
    """Write the encoder, always the same weights, and return its directory."""
    with torch.random.fork_rng():
        torch.manual_seed(21)
        model = RobertaModel(encoder_config(), add_pooling_layer=pooler)
    model.save_pretrained(directory)
    encoder_tokenizer().save_pretrained(directory)
    return directory


class InterruptedEditError(Exception):
    """Raised inside an edit by a clause."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An editor under test on one architecture; builds a fresh editor as often as needed."""

    key: str
    architecture: str
    directory: Path = field(compare=False)  # for the artefacts

    def untrained(self) -> Editor[Any] | None:
        """A fresh editor with weights that were never trained; None where it has none."""
        cls = registry.editor_class(self.key)
        if not issubclass(cls, TrainableEditor):
            return None
        resources = _resources(self.architecture, self.directory, 0)
        lm, out = TINY[self.architecture](), self.directory / "untrained" / self.architecture
        artefact = cls.untrained(lm, tuned(self.key), resources, out=out)
        return cls(lm, tuned(self.key), dataclasses.replace(resources, artefact=artefact))

    def editor(
        self, *, seed: int = 0, dtype: torch.dtype | None = None, stopping: Stopping = "by_loss"
    ) -> Editor[Any]:
        """A fresh editor on a fresh model, optionally of another dtype."""
        cls, artefact = registry.editor_class(self.key), None
        if issubclass(cls, TrainableEditor):
            artefact = _artefact(self.key, self.architecture, self.directory)
        resources = _resources(self.architecture, self.directory, seed)
        resources = dataclasses.replace(resources, stopping=stopping, artefact=artefact)
        lm = TINY[self.architecture]()
        if dtype is not None:
            model: Any = lm.model
            lm = LanguageModel(model.to(dtype), lm.tokenizer)
        return cls(lm, tuned(self.key), resources)


def tuned(key: str) -> Hparams:
    """The preset for tiny models, else that for any model, with the suite's own changes."""
    cls = registry.editor_class(key)
    preset = cls.presets["tiny" if "tiny" in cls.presets else "default"]
    return cls.hparams_class.from_dict(preset.to_dict() | TUNING.get(key, {}))


@torch.no_grad()
def logits(editor: Editor[Any], pairs: Sequence[tuple[str, str]]) -> Tensor:
    """Logits [N, V] at the target positions of one batch, answered as edited."""
    batch = batch_for(editor.lm, pairs)
    with editor.steering(batch):
        return editor.lm.target_logits(batch)


def log_probability(editor: Editor[Any], request: EditRequest) -> float:
    """Mean log-probability of a request's target tokens."""
    pairs = [(request.prompt, request.target)]
    scores, labels = logits(editor, pairs), batch_for(editor.lm, pairs).labels
    return float(torch.log_softmax(scores, dim=-1).gather(1, labels[:, None]).mean())


def batch_for(lm: LanguageModel, pairs: Sequence[tuple[str, str]]) -> TokenBatch:
    """Prompts with their targets."""
    return batch_of(lm.tokenizer, pairs, device=lm.device)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def leftovers(model: nn.Module) -> list[str]:
    """Modules with a hook or an overridden forward, and parameters left to be trained."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    hooked = [
        name
        for name, module in model.named_modules()
        if any(vars(module).get(kind) for kind in hooks) or "forward" in vars(module)
    ]
    thawed = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad or parameter.grad is not None
    ]
    return hooked + thawed + (["training mode"] if model.training else [])


@contextmanager
def counted_head(lm: LanguageModel, *, limit: int | None = None) -> Iterator[list[nn.Module]]:
    """A list that grows with each call of the output head, which fails after `limit` calls."""
    calls: list[nn.Module] = []

    def count(head: nn.Module, _: Any) -> None:
        calls.append(head)
        if limit is not None and len(calls) > limit:
            raise InterruptedEditError

    handle = lm.module("lm_head").register_forward_pre_hook(count)
    try:
        yield calls
    finally:
        handle.remove()


@cache
def _resources(architecture: str, directory: Path, seed: int) -> Resources:
    lm = TINY[architecture]()
    moments = second_moments(lm, CORPUS, range(LAYERS), max_length=CONTEXT)
    encoder = directory / "encoder"
    if not encoder.exists():
        write_encoder(encoder)
    return Resources(
        covariance=lambda layer: moments[layer].matrix,
        templates=TEMPLATES,
        encoder=encoder,
        corpus=lambda: LONG_LINES,
        training=lambda: SAMPLES,
        seed=seed,
    )


@cache
def _artefact(key: str, architecture: str, directory: Path) -> Path:
    cls: Any = registry.editor_class(key)  # a trainable one
    path: Path = cls.fit(
        TINY[architecture](),
        {"tiny": SAMPLES[:2] * 6},
        tuned(key),
        _resources(architecture, directory, 0),
        out=directory / architecture,
    )
    return path
