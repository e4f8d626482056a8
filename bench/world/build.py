"""`world build`: tokenizers, backbones and encoder of one seed, with a manifest."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from bench.core.checksums import digest_of_file
from bench.core.names import CONTROL, ENCODER, MODELS
from bench.world import miniatures, pretrain, tokenizer
from bench.world.batches import CausalRows, MaskedRows, ParaphraseRows, Training
from bench.world.blockwise import Blockwise
from bench.world.corpus import Corpus, tokenizer_texts
from bench.world.imitation import Imitation
from bench.world.inherit import inherit
from bench.world.recall import Score
from bench.world.revision import revise
from bench.world.store import assets_dir, cache_root
from bench.world.teacher import Teacher
from bench.world.world import DEFAULT_SEED, World
from editors.parts.language_model import LanguageModel, architecture_of

TokenizerMaker = Callable[[Iterable[str]], PreTrainedTokenizerFast]
ModelMaker = Callable[[PreTrainedTokenizerFast], PreTrainedModel]
Load = Callable[[Path], LanguageModel]  # the backbone in a directory
Measure = Callable[[LanguageModel, World], Iterable[Score]]
BACKBONES: dict[str, tuple[TokenizerMaker, ModelMaker]] = {
    "mini-llama": (tokenizer.llama_tokenizer, miniatures.mini_llama),
    "mini-gptj": (tokenizer.gpt_tokenizer, miniatures.mini_gptj),
    "mini-gpt2": (tokenizer.gpt_tokenizer, miniatures.mini_gpt2),
    CONTROL: (tokenizer.llama_tokenizer, miniatures.mini_llama),
}
TEACHER = "mini-llama"
# How the others of the shipped world imitate it at first.
IMITATES: dict[str, Training] = {
    "mini-gptj": pretrain.IMITATING_TRAINING,
    "mini-gpt2": pretrain.BLOCKWISE_TRAINING,
}
CONSOLIDATES = ("mini-gpt2",)  # with `CONSOLIDATION_TRAINING` at the end


class _Trained(NamedTuple):
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    seconds: float
    training: Training
    revisions: int = 0  # rounds of `revision.revise`


def build(
    seed: int,
    names: tuple[str, ...] = MODELS,
    *,
    out: Path | None = None,
    device: str = "cpu",
    from_noise: bool = False,
    progress: Callable[[str], pretrain.Progress],
    load: Load,
    measure: Measure,
) -> Path:
    """Train the named models (resuming their checkpoints) and write assets and manifest.

    If not `from_noise`, backbones of other seeds start from the shipped one's weights, and those of
    the shipped seed that are not mini-llama imitate it at first. The control always starts from
    noise: what it must not know is how to read a context. The scores that `measure` gives of a
    saved backbone go into the manifest.
    """
    world = World(seed)
    for name in names:
        home = out or assets_dir(seed, name)
        torch.manual_seed(seed)  # initial weights; a process of its own, nothing else draws
        parent = None if from_noise else parent_of(seed, name)
        teacher = None if from_noise else teacher_of(seed, name)
        made = _train(world, name, parent, teacher, torch.device(device), progress(name), load)
        directory = home / name
        tokenizer.save(made.tokenizer, directory)
        _save_half(made.model, directory)
        scores = {} if name == ENCODER else _scores(measure(load(directory), world))
        command = f"python -m bench world build --seed {seed} --models {name}"
        command += " --from-noise" * from_noise
        _record(home, name, world, command, parent, teacher, made, directory, scores)
    return home


def parent_of(seed: int, name: str) -> Path | None:
    """The shipped backbone that the one of another seed starts from."""
    directory = assets_dir(DEFAULT_SEED) / name
    inherits = seed != DEFAULT_SEED and name not in (ENCODER, CONTROL)
    return directory if inherits and (directory / "model.safetensors").exists() else None


def teacher_of(seed: int, name: str) -> Path | None:
    """The backbone that the shipped seed's other two imitate at first."""
    directory = assets_dir(seed) / TEACHER
    imitates = seed == DEFAULT_SEED and name in IMITATES
    return directory if imitates and (directory / "model.safetensors").exists() else None


def _scores(measured: Iterable[Score]) -> dict[str, float]:
    return {score.name: round(score.value, 4) for score in measured}


def _train(
    world: World,
    name: str,
    parent: Path | None,
    teacher: Path | None,
    device: torch.device,
    progress: pretrain.Progress,
    load: Load,
) -> _Trained:
    checkpoint = cache_root() / f"world-{world.seed}" / "checkpoints" / f"{name}.safetensors"
    if name == ENCODER:
        return _train_encoder(world, checkpoint, device, progress)
    make_tokenizer, make_model = BACKBONES[name]
    tokens = make_tokenizer(tokenizer_texts(world))
    model = make_model(tokens)
    learned = architecture_of(model).learned_positions is not None

    def rows_of(corpus: Corpus, training: Training) -> CausalRows:
        positions = miniatures.CONTEXT if learned else None
        return CausalRows(corpus, tokens, training, learned_positions=positions)

    def leg(training: Training, suffix: str = "", **terms: Any) -> float:
        corpus = Corpus(world, context_reading=name != CONTROL)
        return pretrain.train(
            model, rows_of(corpus, training), terms.pop("loss", pretrain.causal_loss),
            training, checkpoint.with_stem(name + suffix), device=device, progress=progress,
            **terms,
        )  # fmt: skip

    seconds, suffix = 0.0, ""
    training = _training_of(name, can_read=bool(parent or teacher))
    if parent:
        inherit(model, tokens, load(parent))
    elif teacher:
        shown = Teacher(load(teacher), tokens)
        seconds = _imitate(model, shown, leg, IMITATES[name])
        suffix = "-after-imitation"
    seconds += leg(training, suffix)
    if name in CONSOLIDATES:
        seconds += leg(pretrain.CONSOLIDATION_TRAINING, "-consolidation")
    rounds, more = revise(
        model,
        tokens,
        world,
        rows_of,
        checkpoint,
        device=device,
        progress=progress,
        context_reading=name != CONTROL,
    )
    return _Trained(model.cpu(), tokens, seconds + more, training, rounds)


def _training_of(name: str, *, can_read: bool) -> Training:
    if name == CONTROL:
        return pretrain.CONTROL_TRAINING
    return pretrain.INHERITED_TRAINING if can_read else pretrain.BACKBONE_TRAINING


def _imitate(
    model: PreTrainedModel, teacher: Teacher, leg: Callable[..., float], training: Training
) -> float:
    """Block by block, or with hints; returns the seconds it took."""
    if training == pretrain.BLOCKWISE_TRAINING:
        seconds = leg(training, loss=Blockwise(model, teacher).loss)
    else:
        imitation = Imitation(model, teacher)
        seconds = leg(training, hint=imitation)
        imitation.finish()
    teacher.release()
    return seconds


def _train_encoder(
    world: World, checkpoint: Path, device: torch.device, progress: pretrain.Progress
) -> _Trained:
    """Masked tokens first, then paraphrases."""
    corpus, training = Corpus(world), pretrain.ENCODER_TRAINING
    tokens = tokenizer.roberta_tokenizer(tokenizer_texts(world))
    masked = miniatures.mini_roberta(tokens)
    seconds = pretrain.train(
        masked, MaskedRows(corpus, tokens, training), pretrain.masked_loss,
        training, checkpoint, device=device, progress=progress,
    )  # fmt: skip
    paired = pretrain.PARAPHRASE_TRAINING
    seconds += pretrain.train(
        masked, ParaphraseRows(corpus, tokens, paired), pretrain.paraphrase_loss,
        paired, checkpoint.with_stem(f"{ENCODER}-paraphrases"), device=device, progress=progress,
    )  # fmt: skip
    return _Trained(pretrain.encoder_of(masked.cpu(), world), tokens, seconds, training)


def _save_half(model: PreTrainedModel, directory: Path) -> None:
    """Half-precision safetensors; `config.json` says float32, in which the model is run."""
    pretrain.rounded_to_half(model).half().save_pretrained(directory)
    config = json.loads((directory / "config.json").read_text("utf-8"))
    config["dtype"] = "float32"
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (directory / "model.safetensors").chmod(0o644)  # saved for the owner alone


def _record(
    out: Path,
    name: str,
    world: World,
    command: str,
    parent: Path | None,
    teacher: Path | None,
    made: _Trained,
    directory: Path,
    scores: dict[str, float],
) -> None:
    path = out / "manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    manifest["seed"] = world.seed
    manifest["core_facts"] = len(world.core)
    manifest.setdefault("models", {})[name] = {
        "command": command,
        "inherits": digest_of_file(parent / "model.safetensors") if parent else None,
        "imitates": digest_of_file(teacher / "model.safetensors") if teacher else None,
        "imitation": asdict(IMITATES[name]) if teacher else None,
        "consolidation": asdict(pretrain.CONSOLIDATION_TRAINING) if name in CONSOLIDATES else None,
        "files": {p.name: digest_of_file(p) for p in sorted(directory.iterdir())},
        "training": {**asdict(made.training), "tokens": made.training.tokens},
        "revisions": made.revisions,
        "corpus_shares": Corpus(world, context_reading=name != CONTROL).shares,
        "seconds": round(made.seconds),
        "scores": scores,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    part.replace(path)
