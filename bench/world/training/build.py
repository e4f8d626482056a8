"""`world build`: tokenizers, backbones and encoder of one seed, with a manifest.

The models have the real architectures at 1 to 2 million parameters. Tokenizers are byte-level BPE,
trained on the world's own text; any Unicode text can be encoded.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from bench.core.console import warn
from bench.core.files import MANIFEST, digest_of_file, write_text
from bench.core.names import CONTROL, ENCODER, MODELS
from bench.world.corpus import Corpus, tokenizer_texts
from bench.world.store import assets_dir, cache_root
from bench.world.training import pretrain
from bench.world.training.pretrain import CausalRows, MaskedRows, ParaphraseRows, Training
from bench.world.training.recall import Score, revise
from bench.world.training.teachers import Blockwise, Imitation, Teacher, inherit
from bench.world.world import DEFAULT_SEED, World
from editors.parts.language_model import LanguageModel, architecture_of

CONTEXT = 512  # tokens
VOCABULARY = 3072  # ours: names of one to four tokens, and a cheap head
# The word pattern of GPT-2 without look-ahead: a word includes the space in front of it, so that
# the tokens of `prompt` and of ` target` are together those of the joined text.
_WORDS = Regex(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+")

LLAMA_SPECIALS = ("<unk>", "<s>", "</s>")
GPT_SPECIALS = ("<|endoftext|>",)
ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def train_bpe(texts: Iterable[str], specials: tuple[str, ...], size: int = VOCABULARY) -> Tokenizer:
    """A byte-level BPE tokenizer whose first ids are `specials`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_WORDS, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def llama_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """As LLaMA's: BOS in front of every text; EOS is the padding too."""
    tokenizer = train_bpe(texts, LLAMA_SPECIALS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="</s>", clean_up_tokenization_spaces=False,
    )  # fmt: skip


def gpt_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """As GPT's: no special tokens around a text, one separator that is also the padding."""
    end = GPT_SPECIALS[0]
    return PreTrainedTokenizerFast(
        tokenizer_object=train_bpe(texts, GPT_SPECIALS), bos_token=end, eos_token=end,
        unk_token=end, pad_token=end, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def roberta_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """As RoBERTa's: `<s> .. </s>` around a text."""
    tokenizer = train_bpe(texts, ROBERTA_SPECIALS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>",
        sep_token="</s>", unk_token="<unk>", pad_token="<pad>", mask_token="<mask>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.no_padding()  # training may have left its settings there
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(str(directory))


def mini_llama(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """LLaMA with 4 layers of width 128 (1.6 M parameters)."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=128, intermediate_size=384,
            num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
            max_position_embeddings=CONTEXT, tie_word_embeddings=False, bos_token_id=1,
            eos_token_id=2, pad_token_id=2,
        )
    )  # fmt: skip


def mini_gptj(tokenizer: PreTrainedTokenizerFast) -> GPTJForCausalLM:
    """GPT-J with 8 layers of width 128 (1.8 M parameters).

    Its attention and MLP read the same input, so it needs two layers for what another model does
    in one; each MLP is half as wide instead. All of a head's 32 dimensions are rotated: GPT-J
    rotates 64 of 256, but a quarter would leave a head this narrow four frequencies (ours).
    """
    return GPTJForCausalLM(
        GPTJConfig(
            vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=128, n_layer=8, n_head=4,
            n_inner=256, rotary_dim=32, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip


def mini_gpt2(tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    """GPT-2 with 4 layers of width 160 (1.8 M parameters; the head is the embedding).

    Wider than the other two, because its stream contains the positions as well. Without dropout, as
    the others: the corpus alone is random in training.
    """
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=160, n_layer=4, n_head=5,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip


def mini_roberta(tokenizer: PreTrainedTokenizerFast) -> RobertaForMaskedLM:
    """RoBERTa with 3 layers of width 128."""
    return RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=3,
            num_attention_heads=4, intermediate_size=384, max_position_embeddings=514,
            type_vocab_size=1, bos_token_id=0, pad_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip


# ---- training them -----------------------------------------------------------------------------

Load = Callable[[Path], LanguageModel]  # the backbone in a directory
Measure = Callable[[LanguageModel, World], Iterable[Score]]
TokenizerMaker = Callable[[Iterable[str]], PreTrainedTokenizerFast]
ModelMaker = Callable[[PreTrainedTokenizerFast], PreTrainedModel]
BACKBONES: dict[str, tuple[TokenizerMaker, ModelMaker]] = {
    "mini-llama": (llama_tokenizer, mini_llama),
    "mini-gptj": (gpt_tokenizer, mini_gptj),
    "mini-gpt2": (gpt_tokenizer, mini_gpt2),
    CONTROL: (llama_tokenizer, mini_llama),
}
TEACHER = "mini-llama"
# How the other backbones of the shipped world imitate it at first.
IMITATES: dict[str, Training] = {
    "mini-gptj": pretrain.IMITATING_TRAINING,
    "mini-gpt2": pretrain.BLOCKWISE_TRAINING,
}
CONSOLIDATES = ("mini-gpt2",)  # with `CONSOLIDATION_TRAINING` at the end


@dataclass(frozen=True, kw_only=True)
class _Trained:
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    seconds: float
    training: Training
    revisions: int = 0  # rounds of `recall.revise`


def build(
    seed: int,
    names: tuple[str, ...] = MODELS,
    *,
    out: Path | None = None,
    device: str = "cpu",
    from_noise: bool = False,
    load: Load,
    measure: Measure,
) -> Path:
    """Train the named models (resuming their checkpoints) and write assets and manifest.

    If not `from_noise`, backbones of other seeds start from the shipped one's weights, and those of
    the shipped seed that are not mini-llama imitate it at first. The control always starts from
    noise, because it must not learn to read a context. The scores that `measure` gives of a saved
    backbone go into the manifest.
    """
    world = World(seed)
    for name in names:
        warn(f"training {name}")
        home = out or assets_dir(seed, name)
        torch.manual_seed(seed)  # of initial weights; nothing else in this process draws
        parent = None if from_noise else parent_of(seed, name)
        teacher = None if from_noise else teacher_of(seed, name)
        if name == ENCODER:
            trained = _train_encoder(world, torch.device(device))
        else:
            trained = _Backbone(world, name, torch.device(device), load).train(parent, teacher)
        directory = home / name
        save_tokenizer(trained.tokenizer, directory)
        _save_half(trained.model, directory)
        measured = () if name == ENCODER else measure(load(directory), world)
        scores = {score.name: round(score.value, 4) for score in measured}
        command = f"python -m bench world build --seed {seed} --models {name}"
        command += " --from-noise" * from_noise
        origin = {
            "inherits": digest_of_file(parent / "model.safetensors") if parent else None,
            "imitates": digest_of_file(teacher / "model.safetensors") if teacher else None,
            "imitation": asdict(IMITATES[name]) if teacher else None,
        }
        _record(directory, world, {"command": command, **origin}, trained, scores)
    return home


def parent_of(seed: int, name: str) -> Path | None:
    """The shipped backbone from which that of another seed starts."""
    directory = assets_dir(DEFAULT_SEED) / name
    inherits = seed != DEFAULT_SEED and name not in (ENCODER, CONTROL)
    return directory if inherits and (directory / "model.safetensors").exists() else None


def teacher_of(seed: int, name: str) -> Path | None:
    """The backbone that the shipped seed's other two imitate at first."""
    directory = assets_dir(seed) / TEACHER
    imitates = seed == DEFAULT_SEED and name in IMITATES
    return directory if imitates and (directory / "model.safetensors").exists() else None


def _checkpoint(world: World, name: str) -> Path:
    return cache_root() / f"world-{world.seed}" / "checkpoints" / f"{name}.safetensors"


class _Backbone:
    """The training of one backbone, in stages with a checkpoint each."""

    def __init__(self, world: World, name: str, device: torch.device, load: Load) -> None:
        self._world, self._name, self._device = world, name, device
        self._load, self._checkpoint = load, _checkpoint(world, name)
        make_tokenizer, make_model = BACKBONES[name]
        self._tokenizer = make_tokenizer(tokenizer_texts(world))
        self._model = make_model(self._tokenizer)

    def train(self, parent: Path | None, teacher: Path | None) -> _Trained:
        """All stages: inheriting or imitation, the main one, consolidation, revision."""
        name, seconds, suffix = self._name, 0.0, ""
        if parent:
            inherit(self._model, self._tokenizer, self._load(parent))
        elif teacher:
            seconds = self._imitate(Teacher(self._load(teacher), self._tokenizer))
            suffix = "-after-imitation"
        if name == CONTROL:
            training = pretrain.CONTROL_TRAINING
        elif parent or teacher:  # it can read already
            training = pretrain.INHERITED_TRAINING
        else:
            training = pretrain.BACKBONE_TRAINING
        seconds += self._stage(training, suffix)
        if name in CONSOLIDATES:
            seconds += self._stage(pretrain.CONSOLIDATION_TRAINING, "-consolidation")
        rounds, more = revise(
            self._model, self._tokenizer, self._world, self._rows, self._checkpoint,
            device=self._device, context_reading=name != CONTROL,
        )  # fmt: skip
        return _Trained(
            model=self._model.cpu(),
            tokenizer=self._tokenizer,
            seconds=seconds + more,
            training=training,
            revisions=rounds,
        )

    def _rows(self, corpus: Corpus, training: Training) -> CausalRows:
        learned = architecture_of(self._model).learned_positions is not None
        positions = CONTEXT if learned else None
        return CausalRows(corpus, self._tokenizer, training, learned_positions=positions)

    def _stage(
        self,
        training: Training,
        suffix: str = "",
        loss: pretrain.Loss = pretrain.causal_loss,
        hint: pretrain.Hint | None = None,
    ) -> float:
        corpus = Corpus(self._world, context_reading=self._name != CONTROL)
        return pretrain.train(
            self._model, self._rows(corpus, training), loss, training,
            self._checkpoint.with_stem(self._name + suffix),
            device=self._device, hint=hint,
        )  # fmt: skip

    def _imitate(self, teacher: Teacher) -> float:
        """Block by block, or with hints; returns the seconds it took."""
        training = IMITATES[self._name]
        if training == pretrain.BLOCKWISE_TRAINING:
            seconds = self._stage(training, loss=Blockwise(self._model, teacher).loss)
        else:
            imitation = Imitation(self._model, teacher)
            seconds = self._stage(training, hint=imitation)
            imitation.finish()
        teacher.release()
        return seconds


def _train_encoder(world: World, device: torch.device) -> _Trained:
    """Masked tokens first, then paraphrases."""
    corpus, checkpoint = Corpus(world), _checkpoint(world, ENCODER)
    training, paired = pretrain.ENCODER_TRAINING, pretrain.PARAPHRASE_TRAINING
    tokens = roberta_tokenizer(tokenizer_texts(world))
    masked = mini_roberta(tokens)
    seconds = pretrain.train(
        masked, MaskedRows(corpus, tokens, training), pretrain.masked_loss,
        training, checkpoint, device=device,
    )  # fmt: skip
    seconds += pretrain.train(
        masked, ParaphraseRows(corpus, tokens, paired), pretrain.paraphrase_loss,
        paired, checkpoint.with_stem(f"{ENCODER}-paraphrases"), device=device,
    )  # fmt: skip
    encoder = pretrain.encoder_of(masked.cpu(), world)
    return _Trained(model=encoder, tokenizer=tokens, seconds=seconds, training=training)


def _save_half(model: PreTrainedModel, directory: Path) -> None:
    """Half-precision safetensors; `config.json` says float32, the precision of inference."""
    pretrain.rounded_to_half(model).half().save_pretrained(directory)
    config = json.loads((directory / "config.json").read_text("utf-8"))
    config["dtype"] = "float32"
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (directory / "model.safetensors").chmod(0o644)  # saved for the owner alone


def _record(
    directory: Path,
    world: World,
    origin: dict[str, Any],
    trained: _Trained,
    scores: dict[str, float],
) -> None:
    """Add a model to the manifest beside its directory."""
    name, path = directory.name, directory.parent / MANIFEST
    manifest: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    manifest["seed"] = world.seed
    manifest["core_facts"] = len(world.core)
    manifest.setdefault("models", {})[name] = {
        **origin,
        "consolidation": asdict(pretrain.CONSOLIDATION_TRAINING) if name in CONSOLIDATES else None,
        "files": {p.name: digest_of_file(p) for p in sorted(directory.iterdir())},
        "training": {**asdict(trained.training), "tokens": trained.training.tokens},
        "revisions": trained.revisions,
        "corpus_shares": Corpus(world, context_reading=name != CONTROL).shares,
        "seconds": round(trained.seconds),
        "scores": scores,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    write_text(path, json.dumps(manifest, indent=2) + "\n")
