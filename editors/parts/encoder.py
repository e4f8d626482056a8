"""Sentence encoders: texts to vectors, each independent of the batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.parts.artefact import files_digest
from editors.parts.language_model import check_report
from editors.parts.tokens import placed

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


Pooling = Literal["code4", "paper3"]
TokenPooling = Literal["mean", "cls", "pooler"]

# How weights are read: from local safetensors files; what does not fit is refused in a sentence.
_LOCAL: dict[str, Any] = {
    "local_files_only": True,
    "use_safetensors": True,
    "dtype": torch.float32,
    "output_loading_info": True,
    "ignore_mismatched_sizes": True,
}
_CHUNK = 64  # texts of one forward; results do not depend on it
# Kinds of encoders by their model_type, and what each calls its transformer blocks.
_BLOCKS = {"bert": "encoder", "roberta": "encoder", "mpnet": "encoder", "distilbert": "transformer"}
_WITHOUT_POOLER = ("distilbert",)
_SHIFTED = ("roberta", "mpnet")  # they number positions from the padding id + 1
_FILES = ("config.json", "tokenizer.json", "model.safetensors")
# Where a sentence-transformers directory says how its tokens are pooled.
_POOLING_FILE = Path("1_Pooling") / "config.json"
_MODULES_FILE = "modules.json"  # and here which steps follow the transformer
_LENGTH_FILE = "sentence_bert_config.json"  # and here how many tokens of a text it reads
_MODULES = ("Transformer", "Pooling", "Normalize")  # vectors are of length one in any case
_POOLING_KEYS: dict[str, TokenPooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
}
# Shift of masked positions before a maximum or minimum, as in RECIPE's released code; larger than
# any activation after a layer norm.
_OUT_OF_RANGE = 999_999.0


class SentenceEncoder(nn.Module):
    """An encoder with RECIPE's pooling (the released code adds the pooler output).

    `code4` concatenates pooler output, mean, maximum and minimum over the tokens of a row, in this
    order; `paper3` leaves the pooler output out. Special tokens at both ends count, padding never.
    The transformer is registered under its model_type, as in `roberta.encoder.layer.0...`.
    """

    def __init__(self, config: PretrainedConfig, *, pool: Pooling = "code4") -> None:
        super().__init__()
        if pool not in get_args(Pooling):
            raise ValueError(f"Unknown pooling {pool!r}. Available: {', '.join(get_args(Pooling))}")
        self.pool = pool
        self.config = config
        cls, options = _transformer_class(config, pooler=pool == "code4")
        self.add_module(config.model_type, cls(config, **options))

    @property
    def transformer(self) -> Any:
        """The encoder without the pooling that is added here."""
        return self.get_submodule(self.config.model_type)

    @property
    def hidden_size(self) -> int:
        """H, the width of one token."""
        return int(self.config.hidden_size)

    @property
    def pooled_size(self) -> int:
        """Width of a pooled vector: 4 H or 3 H."""
        return self.hidden_size * (4 if self.pool == "code4" else 3)

    @property
    def max_length(self) -> int:
        """Longest input in tokens."""
        return _context(self.config)

    @classmethod
    def from_directory(cls, directory: Path, *, pool: Pooling = "code4", seed: int = 0) -> Self:
        """Load pre-trained weights from a local directory (safetensors only).

        A checkpoint without a pooler (the public roberta-base) gets a fresh one, drawn from
        `seed`; the global generator is left alone.

        Raises:
            FileNotFoundError: no `config.json` or no safetensors weights there.
            ValueError: the directory holds another kind of model, or weights that do not fit.
        """
        config = read_config(directory)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = cls(config, pool=pool)
            kind, options = _transformer_class(config, pooler=pool == "code4")
            model, report = kind.from_pretrained(directory, **options, **_LOCAL)
        encoder.add_module(config.model_type, model)
        check_report(report, directory, optional={"pooler"})
        return encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Pooled vectors [B, pooled_size] of right-padded ids [B, T] and their mask [B, T]."""
        output = self.transformer(input_ids=input_ids, attention_mask=attention_mask)
        states: Tensor = output.last_hidden_state
        return self._pooled(states, attention_mask)

    def forward_hidden(self, states: Tensor) -> Tensor:
        """Pooled vectors of hidden states [B, T, H] put straight into the transformer layers.

        No position, token type or layer norm of the embedding module is applied, and every
        position is visible: how RECIPE's released code encodes its knowledge sentinel.
        """
        states = self.transformer.get_submodule(_BLOCKS[self.config.model_type])(states)[0]
        return self._pooled(states, torch.ones(states.shape[:2], device=states.device))

    def forward_embedded(self, embeddings: Tensor) -> Tensor:
        """Pooled vectors of word embeddings [B, T, H] that pass through the embedding module."""
        states = self.transformer(inputs_embeds=embeddings).last_hidden_state
        return self._pooled(states, torch.ones(states.shape[:2], device=states.device))

    def _pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool [B, T, H] over the positions where the mask [B, T] is 1."""
        real = mask.unsqueeze(-1).to(states.dtype)
        dropped = (1 - real) * _OUT_OF_RANGE
        parts = [
            (states * real).sum(dim=1) / real.sum(dim=1),
            (states - dropped).amax(dim=1),
            (states + dropped).amin(dim=1),
        ]
        if self.pool == "code4":
            parts.insert(0, self.transformer.pooler(states))
        return torch.cat(parts, dim=-1)


@dataclass(frozen=True)
class TextBatcher:
    """Strings to right-padded encoder ids, truncated to what the encoder can read."""

    tokenizer: PreTrainedTokenizerBase
    max_length: int

    @classmethod
    def from_directory(cls, directory: Path, max_length: int) -> Self:
        """The fast tokenizer of a local directory."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, use_fast=True)
        return cls(tokenizer, max_length)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text with `<s>` and `</s>`."""
        encoded = self.tokenizer(list(texts), truncation=True, max_length=self.max_length)
        return [list(row) for row in encoded["input_ids"]]

    def pad(self, rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
        """(ids [B, T], mask [B, T]) of rows of ids."""
        width = max(map(len, rows))
        padding = int(self.tokenizer.pad_token_id)
        ids = [[*row, *[padding] * (width - len(row))] for row in rows]
        mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
        return placed(ids, device), placed(mask, device)


def padding_id(config: PretrainedConfig) -> int:
    """The id that fills short rows; some encoders recognise padding by it.

    Raises:
        ValueError: the configuration names none.
    """
    if config.pad_token_id is None:
        raise ValueError("The sentence encoder's config.json names no pad_token_id.")
    return int(config.pad_token_id)


def read_config(directory: Path) -> PretrainedConfig:
    """The configuration of an encoder of a known kind in a local directory.

    Raises:
        FileNotFoundError: no `config.json` there.
        ValueError: the directory holds another kind of model.
    """
    from transformers import AutoConfig

    check_files(directory, _FILES[:1])
    values = _json(directory / _FILES[0])
    if values.get("model_type") not in _BLOCKS:
        raise ValueError(
            f"The sentence encoder at {directory} has model_type {values.get('model_type')!r}; "
            f"wanted one of {', '.join(_BLOCKS)}."
        )
    config: PretrainedConfig = AutoConfig.from_pretrained(directory, local_files_only=True)
    return config


def _transformer_class(config: PretrainedConfig, *, pooler: bool) -> tuple[Any, dict[str, bool]]:
    """(class of the model, options) with or without a pooler; ValueError where it has none."""
    from transformers import MODEL_MAPPING

    cls = MODEL_MAPPING[type(config)]
    if config.model_type not in _WITHOUT_POOLER:
        return cls, {"add_pooling_layer": pooler}
    if pooler:
        raise ValueError(
            f"An encoder of model_type {config.model_type!r} has no pooler, which pool=code4 "
            "reads; pool=paper3 does without."
        )
    return cls, {}


def _context(config: PretrainedConfig) -> int:
    """How many tokens an encoder can read."""
    positions = int(config.max_position_embeddings)
    return positions - padding_id(config) - 1 if config.model_type in _SHIFTED else positions


class TextVectors:
    """Unit vectors of texts, so that their dot product is the cosine.

    BERT, RoBERTa, MPNet or DistilBERT, as a plain or a sentence-transformers directory, whose
    pooling and length of texts hold. Without one, tokens are averaged.
    """

    def __init__(self, model: nn.Module, batcher: TextBatcher, pooling: TokenPooling) -> None:
        self._model = model.eval().requires_grad_(False)
        self._batcher = batcher
        self._pooling = pooling

    @classmethod
    def from_directory(
        cls,
        directory: Path,
        device: torch.device,
        pooling: Literal["tokens", "pooler"] = "tokens",
    ) -> TextVectors:
        """A local encoder (safetensors only, no remote code); the last one is not loaded twice.

        With `pooler` a vector is the output of the encoder's own pooler.

        Raises:
            FileNotFoundError: one of its files is missing.
            ValueError: it pools its tokens in another way, or has no pooler where it is wanted, or
                its weights do not fit.
        """
        check_files(directory)
        files = sorted(path for path in directory.rglob("*") if path.is_file())
        seen = [(path, (of := path.stat()).st_ino, of.st_size, of.st_mtime_ns) for path in files]
        wanted = (str(device), pooling, *seen)
        if wanted not in _loaded:
            _loaded.clear()
            _loaded[wanted] = cls._load(directory, device, pooling)
        return _loaded[wanted]

    @classmethod
    def _load(
        cls, directory: Path, device: torch.device, pooling: Literal["tokens", "pooler"]
    ) -> TextVectors:
        from transformers import AutoModel

        config = read_config(directory)
        with torch.random.fork_rng(devices=[]):  # a checkpoint without a pooler draws one
            loaded: Any = AutoModel.from_pretrained(directory, **_LOCAL)
        model, report = loaded
        check_report(report, directory, optional={"pooler"})
        lacking = any("pooler" in name for name in report["missing_keys"])
        if pooling == "pooler" and (lacking or config.model_type in _WITHOUT_POOLER):
            raise ValueError(
                f"The sentence encoder at {directory} has no weights of a pooler, whose output "
                "pooling=pooler reads; name one that has with --encoder."
            )
        longest = min(_context(config), _read_length(directory) or _context(config))
        batcher = TextBatcher.from_directory(directory, longest)
        how = "pooler" if pooling == "pooler" else _pooling(directory)
        return cls(model.to(device), batcher, how)

    @property
    def width(self) -> int:
        weight = self._model.get_parameter("embeddings.word_embeddings.weight")
        return int(weight.shape[1])

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, H] of B texts, at least one."""
        rows = self._batcher.ids(texts)
        return torch.cat([self._vectors(rows[i : i + _CHUNK]) for i in range(0, len(rows), _CHUNK)])

    def _vectors(self, rows: Sequence[Sequence[int]]) -> Tensor:
        device = next(self._model.parameters()).device
        ids, mask = self._batcher.pad(rows, device)
        output = self._model(input_ids=ids, attention_mask=mask)
        if self._pooling == "pooler":
            return functional.normalize(output.pooler_output, dim=-1)
        states: Tensor = output.last_hidden_state
        if self._pooling == "cls":
            return functional.normalize(states[:, 0], dim=-1)
        real = mask[..., None].to(states.dtype)  # [B, T, 1]
        return functional.normalize((states * real).sum(1) / real.sum(1), dim=-1)


_loaded: dict[tuple[Any, ...], TextVectors] = {}  # the last, by its files as they were


def check_files(directory: Path, names: Sequence[str] = _FILES) -> None:
    """Refuse a directory that is no encoder.

    Raises:
        FileNotFoundError: by the first missing file.
    """
    for name in names:
        if not (directory / name).is_file():
            raise FileNotFoundError(f"No sentence encoder at {directory}: {name} is missing.")


def check_encoder(directory: Path) -> None:
    """Refuse an encoder of another kind, or that pools otherwise, before its weights are read.

    Raises:
        FileNotFoundError: one of its files is missing.
        ValueError: what it is.
    """
    check_files(directory)
    read_config(directory)
    _pooling(directory)
    _read_length(directory)


def _json(path: Path) -> Any:
    """The value in a JSON file."""
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from error


def encoder_digest(directory: Path, *, weights: bool = True) -> str:
    """sha256 of an encoder's configuration, which fixes its width, tokenizer and weights.

    Raises:
        FileNotFoundError: one of the files is missing.
    """
    names = _FILES if weights else _FILES[:2]
    check_files(directory, names)
    files = [directory / name for name in names]
    others = (directory / _POOLING_FILE, directory / _LENGTH_FILE)
    return files_digest([*files, *(path for path in others if path.is_file())])


def _pooling(directory: Path) -> TokenPooling:
    _check_modules(directory / _MODULES_FILE)
    path = directory / _POOLING_FILE
    if not path.is_file():
        return "mean"
    settings = _json(path)
    modes = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on]
    if len(modes) != 1 or modes[0] not in _POOLING_KEYS:
        raise ValueError(
            f"{path} pools tokens by {', '.join(modes) or 'nothing'}; "
            f"wanted one of {', '.join(_POOLING_KEYS)}."
        )
    return _POOLING_KEYS[modes[0]]


def _read_length(directory: Path) -> int | None:
    """How many tokens of a text a sentence-transformers directory says are read, if it does."""
    path = directory / _LENGTH_FILE
    length = _json(path).get("max_seq_length") if path.is_file() else None
    return None if length is None else int(length)


def _check_modules(path: Path) -> None:
    """Refuse an encoder with steps that are not taken here, such as a projection."""
    modules = _json(path) if path.is_file() else []
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    if others := [kind for kind in kinds if kind not in _MODULES]:
        raise ValueError(f"{path} names the step {others[0]}; wanted {', '.join(_MODULES)} alone.")
