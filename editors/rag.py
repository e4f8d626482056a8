"""RAG: the nearest fact as plain text in front of a question, for a model that is left as it is.

The baseline of WikiBigEdit (Thede et al., ICML 2025; ExplainableML/WikiBigEdit at 66b4285): one
fact, found by its question alone, in front of every question. Here it shares the encoder of the
other retrieval editors, and the text is joined to the question by ids, so that a question needs no
question mark and is never cut. It is not in the tables of the RECIPE paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from editors.base import EditRequest
from editors.parts.checks import check_choice
from editors.parts.fact_memory import InContextEditor, InContextHparams, Retrieval
from editors.parts.needs import EDIT_TOKENS, FACT_TOKENS, FORWARD, Needs, Setting
from editors.parts.texts import joined
from editors.parts.tokens import joint

# `qa`: question and answer (WikiBigEdit). `statement`: prompt and answer as a sentence (ours).
Form = Literal["qa", "statement"]


@dataclass(frozen=True, kw_only=True)
class RagHparams(InContextHparams):
    """Defaults are WikiBigEdit's."""

    retrieval: Retrieval = "always"
    form: Form = "qa"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("form", self.form, Form)


# Ours: what benchmarks/choose_hparams.py found on training edits.
MINIATURE = RagHparams(form="statement")


class RagEditor(InContextEditor[RagHparams]):
    """States one fact in front of a question."""

    family: ClassVar[Literal["MP", "AP", "RB"]] = "RB"
    label: ClassVar[str] = "RAG"
    in_paper: ClassVar[bool] = False
    table_row = 16
    mark = ("#AA4499", "x")
    edits_batches = True
    hparams_class = RagHparams
    presets: ClassVar[Mapping[str, RagHparams]] = {
        **dict.fromkeys(("llama-2-7b", "gpt-j-6b", "gpt2-xl", "smollm2-135m"), RagHparams()),
        "gated": RagHparams(retrieval="gated"),
        **dict.fromkeys(("mini-llama", "mini-gptj", "mini-gpt2"), MINIATURE),
        "default": RagHparams(),
    }

    @classmethod
    def needs(cls, hparams: RagHparams, on: Setting) -> Needs:  # noqa: ARG003
        """The encoder, and a key of each edit; texts lie on the host."""
        return Needs(
            held=on.encoder.bytes,
            per_edit=4.0 * on.encoder.hidden,
            edit_operations=EDIT_TOKENS * FORWARD * on.encoder.parameters,
            prefix=FACT_TOKENS,
        )

    def context_of(self, request: EditRequest) -> str:
        if self.hparams.form == "qa":
            text = f"Q: {request.prompt.rstrip()} A: {request.target.lstrip()}"
        else:
            text = f"{joined(request.prompt, request.target)}."
        return text + joint(self.lm.tokenizer)
