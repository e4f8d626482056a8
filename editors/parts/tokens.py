"""Text to right-padded batches: the only place where prompts and targets become ids.

Text is text: a special token that is spelt in it is read as its letters. Targets are tokenised on
their own, with one leading space and no special tokens, and are joined to the prompt by ids; a
target can so never contain BOS, and labels cannot shift at the border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor

from editors.parts.checks import check_count
from editors.parts.texts import space_before, subject_span

if TYPE_CHECKING:
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerBase


Ids = Sequence[int]
Pair = tuple[Ids, Ids]  # (prompt, target) ids of the language model

# Tokens of padding that cost as much as another forward; ours, measured on SmolLM2-135M.
PADDING = 32
NONE = -1  # in place of an id, in some configurations
SENTENCEPIECE_SPACE = "\u2581"
_SPACES = (SENTENCEPIECE_SPACE, "\u0120")  # how tokens of sentencepiece and byte-level BPE spell it


RetrievalText = Literal["teacher_forced", "prompt_only"]


@dataclass(frozen=True)
class TokenBatch:
    """B rows of prompt ids + target ids but the last, right-padded to T.

    A row scores its target: the logits at `prompt_length - 1 + j` predict target token j.
    `texts` is what a retrieval editor looks up, one string a row.
    """

    input_ids: Tensor  # [B, T]
    attention_mask: Tensor  # [B, T], 1 on real tokens
    prompt_lengths: tuple[int, ...]
    target_ids: tuple[tuple[int, ...], ...]  # may be empty rows: a prompt to continue
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.prompt_lengths)

    @property
    def position_ids(self) -> Tensor:
        """Explicit positions [B, T], 0 at each row's first token."""
        batch, length = self.input_ids.shape
        return torch.arange(length, device=self.input_ids.device).expand(batch, length)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Real tokens of each row."""
        return tuple(
            prompt + max(len(target) - 1, 0)
            for prompt, target in zip(self.prompt_lengths, self.target_ids, strict=True)
        )

    @cached_property
    def scored_positions(self) -> tuple[Tensor, Tensor]:
        """(rows [N], columns [N]) of the positions that predict target tokens, in row order."""
        rows = [i for i, target in enumerate(self.target_ids) for _ in target]
        columns = [
            prompt - 1 + j
            for prompt, target in zip(self.prompt_lengths, self.target_ids, strict=True)
            for j in range(len(target))
        ]
        device = self.input_ids.device
        return placed(rows, device), placed(columns, device)

    @cached_property
    def labels(self) -> Tensor:
        """Target ids [N], aligned with `scored_positions`."""
        flat = [token for target in self.target_ids for token in target]
        return placed(flat, self.input_ids.device)

    @cached_property
    def target_counts(self) -> Tensor:
        """Number of target tokens [B]; 0 for a prompt to continue."""
        return placed([len(target) for target in self.target_ids], self.input_ids.device)

    @property
    def prompts(self) -> TokenBatch:
        """The same rows without their targets: prompts to continue."""
        columns = torch.arange(max(self.prompt_lengths), device=self.input_ids.device)
        ends = placed(self.prompt_lengths, self.input_ids.device)
        return replace(
            self,
            input_ids=self.input_ids[:, : len(columns)],
            attention_mask=(columns < ends[:, None]).to(self.attention_mask),
            target_ids=((),) * len(self),
        )


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """What a tokenizer and its model do about special tokens, as ids."""

    front: tuple[int, ...]  # in front of every prompt
    bos: int | None  # of the model's configuration
    ends: frozenset[int]  # each of them ends an answer: all ends of text, and the tokenizer's BOS
    lacks_bos: bool  # whether the model has a BOS of its own that no prompt gets

    @classmethod
    def of(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        config: PretrainedConfig,
        generation: GenerationConfig | None = None,
    ) -> Self:
        """Those of a tokenizer, and of a model's two configurations.

        Raises:
            ValueError: the tokenizer puts something after every text, or splits texts at random.
        """
        whole = getattr(tokenizer, "backend_tokenizer", None)
        dropout = None if whole is None else getattr(whole.model, "dropout", None)
        if dropout:
            raise ValueError(
                f"The tokenizer splits a text differently each time (BPE dropout {dropout:.2g}); "
                "wanted one without dropout."
            )
        encoded = tokenizer("a", return_special_tokens_mask=True)
        ids, mask = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
        front = len(list(takewhile(bool, mask)))
        back = len(list(takewhile(bool, reversed(mask[front:]))))
        if back:
            tokens = ", ".join(map(repr, tokenizer.convert_ids_to_tokens(ids[-back:])))
            raise ValueError(
                f"The tokenizer ends every text with {tokens}, so that an answer would follow the "
                "end of the text; wanted one that adds nothing there (see add_eos_token in "
                "tokenizer_config.json and post_processor in tokenizer.json)."
            )
        eos = {*_listed(tokenizer.eos_token_id), *_listed(config.eos_token_id)}
        eos |= set() if generation is None else {*_listed(generation.eos_token_id)}
        bos = next(iter(_listed(config.bos_token_id)), None)
        return cls(
            front=tuple(ids[:front]),
            bos=bos,
            ends=frozenset({*eos, *_listed(tokenizer.bos_token_id)}),
            # In GPT's families it is the end of text, and nothing stands in front of a prompt.
            lacks_bos=bos is not None and bos not in {*ids[:front], *eos},
        )

    def facts(self) -> dict[str, Any]:
        """Plain JSON values for a record."""
        return {
            "front": list(self.front),
            "bos": self.bos,
            "lacks_bos": self.lacks_bos,
            "ends": sorted(self.ends),
        }


def _listed(value: Any) -> list[int]:
    """An entry of a configuration that is the id of a token, several, or none.

    Raises:
        ValueError: anything else.
    """
    ids = [] if value is None else value if isinstance(value, list | tuple) else [value]
    return [check_count("eos_token_id and bos_token_id", token, NONE) for token in ids]


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of some ids as they spell it, without special tokens."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text)


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of a text alone."""
    encoded = tokenizer(text, add_special_tokens=False, split_special_tokens=True)
    return list(encoded["input_ids"])


def context_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of a text as it is, with the tokenizer's special tokens in front (BOS on LLaMA)."""
    return list(tokenizer(text, split_special_tokens=True)["input_ids"])


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """As `context_ids`, without white space at the end: a target brings its own space."""
    return context_ids(tokenizer, prompt.rstrip())


def target_ids(
    tokenizer: PreTrainedTokenizerBase, target: str, prompt: str | None = None
) -> list[int]:
    """Ids of a target as it follows a prompt: after `space_before`, without special tokens."""
    text = target.lstrip()
    return list(_ids_after(tokenizer, text, space_before(text, prompt)))


# Questions repeat: before the edits, and after each number of edits.
@lru_cache(maxsize=1 << 16)
def _ids_after(tokenizer: PreTrainedTokenizerBase, text: str, space: str) -> tuple[int, ...]:
    """Ids of a text after exactly one space, or after none.

    A sentencepiece tokenizer puts a space in front of every text itself, some of them even in front
    of a text that begins with one.
    """
    ids = text_ids(tokenizer, text)
    has_space = bool(ids) and _begins_with_space(tokenizer, ids[0])
    if has_space == bool(space):
        return tuple(ids)
    if space:
        return tuple(text_ids(tokenizer, space + text))
    line = text_ids(tokenizer, "\n")  # after which no tokenizer adds a space
    return tuple(text_ids(tokenizer, "\n" + text)[len(line) :])


def _begins_with_space(tokenizer: PreTrainedTokenizerBase, token: int) -> bool:
    return str(tokenizer.convert_ids_to_tokens(token)).startswith(_SPACES)


@lru_cache(maxsize=1 << 16)
def _cached_context_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    return tuple(context_ids(tokenizer, text))


def joint(tokenizer: PreTrainedTokenizerBase) -> str:
    """What must end a text so that ids of another text can follow as if after a space.

    A sentencepiece tokenizer begins the second text with a space by itself.
    """
    return "" if _begins_with_space(tokenizer, text_ids(tokenizer, "a")[0]) else " "


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that fills short rows; it is masked, so its value never matters."""
    if tokenizer.pad_token_id is not None:
        return int(tokenizer.pad_token_id)
    return int(tokenizer.eos_token_id or 0)


def batch_of(
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    *,
    device: torch.device,
    retrieval_text: RetrievalText = "prompt_only",
    verbatim: bool = False,
) -> TokenBatch:
    """Batch of (prompt, target) pairs; an empty target makes a row to continue.

    Prompts lose white space at their end, as in `prompt_ids`, unless they are taken `verbatim`.
    `retrieval_text` is `teacher_forced` (the prompt and all target tokens but the last, as RECIPE's
    released code retrieves) or `prompt_only`.
    """
    texts = [prompt if verbatim else prompt.rstrip() for prompt, _ in pairs]
    prompts = [_cached_context_ids(tokenizer, text) for text in texts]
    targets = [target_ids(tokenizer, target, text) if target else () for text, target in pairs]
    if retrieval_text == "teacher_forced":
        texts = [seen_text(tokenizer, *pair) for pair in zip(texts, targets, strict=True)]
    return batch_of_ids(prompts, targets, texts, padding=pad_id(tokenizer), device=device)


def batch_of_ids(
    prompts: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    texts: Sequence[str],
    *,
    padding: int,
    device: torch.device,
) -> TokenBatch:
    """Batch of rows that are ids already."""
    rows = [[*p, *t[:-1]] for p, t in zip(prompts, targets, strict=True)]
    width = max(map(len, rows))
    ids = [row + [padding] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return TokenBatch(
        input_ids=placed(ids, device),
        attention_mask=placed(mask, device),
        prompt_lengths=tuple(map(len, prompts)),
        target_ids=tuple(tuple(t) for t in targets),
        texts=tuple(texts),
    )


def placed(values: Sequence[int] | Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Whole numbers on a device; a GPU fetches them from pinned memory while the host goes on."""
    tensor = torch.tensor(values, dtype=torch.long)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def sharing(widths: Sequence[int], padding: int) -> int:
    """How many of the first rows, in the order of their widths, are to share a batch.

    It ends where the next row would lengthen the earlier ones by more than `padding` in all.
    """
    seen = 0
    for count, width in enumerate(widths):
        if width * count - seen > padding:
            return count
        seen += width
    return len(widths)


def groups_of_like(widths: Sequence[int], padding: int = PADDING) -> Iterator[list[int]]:
    """Numbers of rows in groups that are to share a batch, as in `sharing`."""
    order = sorted(range(len(widths)), key=widths.__getitem__)
    while order:
        count = sharing([widths[row] for row in order], padding)
        yield order[:count]
        order = order[count:]


def in_groups(
    widths: Sequence[int],
    compute: Callable[[list[int]], Tensor],
    sizes: Sequence[int] | None = None,
) -> Tensor:
    """What `compute` gives for groups of rows of like widths, in the order of the rows.

    It gives `sizes` lines for each row, by default one.
    """
    parts: dict[int, Tensor] = {}
    for group in groups_of_like(widths):
        counts = [1 if sizes is None else sizes[row] for row in group]
        parts |= zip(group, compute(group).split(counts), strict=True)
    return torch.cat([parts[row] for row in range(len(widths))])


def occurrences(values: Tensor, kinds: int) -> Tensor:
    """How often each of 0 .. kinds - 1 occurs [kinds]; unlike `bincount` no GPU is waited for."""
    return values.new_zeros(kinds).index_add(0, values, torch.ones_like(values))


def seen_text(tokenizer: PreTrainedTokenizerBase, prompt: str, target: Sequence[int]) -> str:
    """What teacher forcing shows of a pair: the prompt and all target tokens but the last."""
    return prompt + continuation(tokenizer, target[:-1], prompt)


def continuation(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], prompt: str | None = None
) -> str:
    """Text of the first ids of a target, with the space that joins it to the prompt."""
    if not ids:
        return ""
    text = text_of(tokenizer, ids)
    return space_before(text, prompt) + text


def subject_last(
    tokenizer: PreTrainedTokenizerBase, prompt: str, subject: str, *, template: str = "{}"
) -> int:
    """Index of the subject's last token in the ids of `template` filled with `prompt`.

    The subject is where `subject_span` has it in the prompt (never in the template's own text); its
    last token is the last whose characters overlap it. This holds for every fast
    tokenizer, with or without BOS, and also where the token swallows what follows the subject.
    A subject that is not in the prompt is looked up at the prompt's last token.

    Raises:
        ValueError: the tokenizer is not a fast one and knows no character offsets, or wrong ones.
    """
    if not tokenizer.is_fast:
        raise ValueError(
            f"Looking up the subject needs a fast tokenizer with character offsets, "
            f"got {type(tokenizer).__name__}."
        )
    prompt, start = prompt.rstrip(), template.index("{}")
    text = template.replace("{}", prompt, 1)
    span = subject_span(prompt, subject)
    begin, end = span or (len(prompt) - 1, len(prompt))
    encoded = tokenizer(text, return_offsets_mapping=True, split_special_tokens=True)
    offsets = encoded["offset_mapping"]
    overlapping = [
        index
        for index, (first, last) in enumerate(offsets)
        if max(first, start + begin) < min(last, start + end)
    ]
    if span and not overlapping:
        raise ValueError(
            f"The tokenizer {type(tokenizer).__name__} gives no character offsets for the subject "
            f"{prompt[begin:end]!r} of {prompt!r}; take a newer one, with right offsets."
        )
    return overlapping[-1] if overlapping else len(offsets) - 1


def pack_texts(texts: Sequence[str], name: str) -> dict[str, Tensor]:
    """UTF-8 bytes of all texts in one row, and the number of bytes of each, under two names."""
    encoded = [text.encode() for text in texts]
    return {
        f"{name}.bytes": torch.tensor(list(b"".join(encoded)), dtype=torch.uint8),
        f"{name}.lengths": torch.tensor([len(text) for text in encoded], dtype=torch.long),
    }


def unpack_texts(state: Mapping[str, Tensor], name: str) -> list[str]:
    """The texts that `pack_texts` put into a state under `name`."""
    parts = state[f"{name}.bytes"].split(state[f"{name}.lengths"].tolist())
    return [bytes(part.tolist()).decode() for part in parts]
