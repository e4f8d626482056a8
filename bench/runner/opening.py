"""An editor on its model, to be used by hand: its files are found as those of a cell are."""

from __future__ import annotations

from bench.core.config import RunConfig
from bench.core.progress import show_busy
from bench.evaluation.inference import generate
from bench.evaluation.metrics import answer_in
from bench.evaluation.probing import Item
from bench.models.backbones import load
from bench.models.resources import resources_for
from bench.runner.planning import editor_inputs
from editors import registry
from editors.by_hand import Session, Steering
from editors.parts.tokens import text_of


class MeasuredSession(Session):
    """Decodes answers to their natural end, as the generated answers of cells are."""

    def answer(self, question: str, steering: Steering) -> str:
        item = Item(aspect="reliability", kind="question", prompt=question, target="")
        (ids,) = generate(self.editor.lm, [item], steering)
        return answer_in(text_of(self.editor.lm.tokenizer, ids)).strip()


def opened(config: RunConfig) -> MeasuredSession:
    """A session without edits; missing weights that train in minutes are trained first.

    The selection is of one editor, one data set and one number of edits.

    Raises:
        ValueError: an editor, backbone or hyper-parameter that cannot be used.
        OSError: missing files, trained weights for example; the sentence says what writes them.
    """
    key, backbone, hparams, sources = editor_inputs(config)
    with show_busy(f"loading {backbone.name}"):
        lm = load(backbone, dtype=config.dtype, device=config.device, device_map=config.device_map)
    resources = resources_for(lm, hparams, sources)
    return MeasuredSession(registry.editor_class(key)(lm, hparams, resources))
