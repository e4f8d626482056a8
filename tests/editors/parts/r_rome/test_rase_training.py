from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import RobertaModel

from bench.checks.contract.tiny import SAMPLES, tiny_gptj, tiny_llama, write_encoder
from editors.base import EditSample, Resources
from editors.parts.artefact import read_artefact
from editors.parts.encoder import TextVectors
from editors.parts.r_rome.retrieval import (
    ORIGINAL,
    Encoded,
    Example,
    RaseHparams,
    RaseNetwork,
    examples_of,
    fact_prompt,
    fact_text,
)
from editors.parts.r_rome.training import RaseSampler, group_loss, margin_loss, rase_terms
from editors.parts.training.loop import Progress
from editors.r_rome import RRomeEditor, RRomeHparams
from tests.support.tiny_files import samples

HPARAMS = RRomeHparams(
    layer=1, width=8, batch_size=6, iterations=6, checkpoint_interval=3, held_out=4
)


def fit(directory: Path, hparams: RRomeHparams = HPARAMS, progress: Progress | None = None) -> Path:
    given = {"tiny": samples(40), "again": samples(20)}
    encoder = write_encoder(directory / "encoder")
    resources = Resources(encoder=encoder)
    return RRomeEditor.fit(
        tiny_llama(), given, hparams, resources, out=directory / "out", progress=progress
    )


def test_without_heads_only_the_gates_are_calibrated(tmp_path: Path) -> None:
    path = fit(tmp_path, replace(HPARAMS, heads="untrained"))
    tensors, header = read_artefact(path)
    assert tensors.keys() == {"gates"}
    assert header["selected_iteration"] == 0
    assert header["validation"]["tiny"]["edits"] == 4
    assert fit(tmp_path, replace(HPARAMS, heads="untrained")) == path


def test_a_retriever_is_refused_where_it_does_not_belong(tmp_path: Path) -> None:
    given = Resources(encoder=tmp_path / "encoder", artefact=fit(tmp_path))
    hparams = replace(HPARAMS, mode="easyedit")
    retriever = RRomeEditor(tiny_llama(), hparams, given).retriever
    assert retriever.facts(["a fact", "another one"]).shape == (2, 8)
    assert not retriever.network.training
    in_use = replace(hparams, two_way=True, gate="published", iterations=1)
    RRomeEditor(tiny_gptj(), in_use, given)  # any model: it takes no part
    with pytest.raises(ValueError, match="do not fit: width is 8 there, wanted 9"):
        RRomeEditor(tiny_llama(), replace(hparams, width=9), given)
    write_encoder(tmp_path / "encoder", pooler=False)  # the same digest would need the same weights
    with pytest.raises(ValueError, match="do not fit: encoder_digest"):
        RRomeEditor(tiny_llama(), hparams, given)


FIRST = SAMPLES[0]
MANY = Example("fact", ("edited", *(f"g{n}" for n in range(9))), tuple(f"u{n}" for n in range(9)))


def test_a_fact_is_subject_prompt_and_answer() -> None:
    assert fact_text(FIRST.request) == "Veltria || The capital of Veltria is || Oskamar"
    assert fact_prompt(FIRST.request) == "Veltria || The capital of Veltria is"


def test_samples_without_probes_are_left_out() -> None:
    lacking: list[EditSample] = [replace(FIRST, generality=()), replace(FIRST, locality=())]
    actual = examples_of([*lacking, FIRST])
    assert actual == [
        Example(
            fact_text(FIRST.request),
            (FIRST.request.prompt, f"It is said: {FIRST.request.prompt}"),
            ("The sky above the sea is",),
        )
    ]


def test_each_text_belongs_to_its_fact() -> None:
    examples = [Example("f0", ("a", "b"), ("c",)), Example("f1", ("d",), ("e", "g"))]
    order = ["f0", "f1", "a", "b", "d", "c", "e", "g"]

    def numbered(texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[order.index(text)] for text in texts])

    batch = Encoded.of(numbered, examples)
    assert batch.facts.flatten().tolist() == [0, 1]
    assert (batch.sentences.flatten().tolist(), batch.owners.tolist()) == ([2, 3, 4], [0, 0, 1])
    assert batch.unrelated.flatten().tolist() == [5, 6, 7]
    assert batch.unrelated_owners.tolist() == [0, 1, 1]


def test_a_draw_has_the_edited_prompt_and_at_most_so_many_others() -> None:
    hparams = RaseHparams(batch_size=3, sentences_per_fact=4)
    drawn = RaseSampler({"a": [MANY]}, 0).draw_batch(hparams)
    assert len(drawn) == 3
    for example in drawn:
        assert example.sentences[0] == "edited"
        assert len(example.sentences) == len(set(example.sentences)) == 4
        assert len(example.unrelated) == 3


EAST, NORTH = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


def test_group_loss_by_hand() -> None:
    """Two facts with sentences (east, north) and (north): mean cosines [[.5, .5], [.5, 1]]."""
    sentences = torch.stack([EAST, NORTH, NORTH])
    loss = group_loss(sentences, sentences, torch.tensor([0, 0, 1]), scale=2.0)
    first = math.log(2)
    second = math.log(math.exp(1) + math.exp(2)) - 2
    assert math.isclose(float(loss), (first + second) / 2, rel_tol=1e-6)


def test_margin_loss_by_hand() -> None:
    """One sentence of fact 0: its own cosine less the margin against a fact and its own query."""
    loss = margin_loss(
        torch.tensor([[0.9, 0.2]]),
        torch.tensor([0]),
        torch.tensor([0.5, 0.95]),  # the second is near the other fact and does not count
        torch.tensor([0, 1]),
        margin=0.1,
        scale=10.0,
    )
    expected = math.log(math.exp(8) + math.exp(2) + math.exp(5)) - 8
    assert math.isclose(float(loss), expected, rel_tol=1e-5)


def test_in_the_original_the_other_facts_alone_are_rivals() -> None:
    cosines, owners = torch.tensor([[0.5, 0.1], [0.2, 0.9]]), torch.tensor([0, 1])
    unrelated, near = torch.tensor([0.8]), torch.tensor([0])
    ours, theirs = (
        margin_loss(
            cosines, owners, unrelated, near, margin=0.1, scale=10.0, unrelated_are_rivals=rivals
        )
        for rivals in (True, False)
    )
    logits = torch.tensor([[4.0, 1.0], [2.0, 8.0]])
    assert float(theirs) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, owners)))
    assert ours > theirs


def test_the_original_reads_the_pooler_of_an_encoder_that_has_one(tmp_path: Path) -> None:
    original = RRomeHparams.from_dict({**HPARAMS.to_dict(), **ORIGINAL})
    encoder = write_encoder(tmp_path / "encoder")
    model = RobertaModel.from_pretrained(encoder, add_pooling_layer=True).eval()
    resources = Resources(encoder=encoder)
    path = RRomeEditor.fit(
        tiny_llama(), {"tiny": samples(40)}, original, resources, out=tmp_path / "out"
    )
    assert read_artefact(path)[1]["hparams"]["pooling"] == "pooler"
    vectors = TextVectors.from_directory(encoder, torch.device("cpu"), "pooler")
    rows = vectors._batcher.ids(["a text"])
    output = model(input_ids=torch.tensor(rows)).pooler_output
    torch.testing.assert_close(
        vectors(["a text"]), torch.nn.functional.normalize(output, dim=-1), atol=1e-5, rtol=0
    )
    RobertaModel.from_pretrained(encoder, add_pooling_layer=False).save_pretrained(encoder)
    with pytest.raises(ValueError, match=r"no weights of a pooler.*--encoder"):
        TextVectors.from_directory(encoder, torch.device("cpu"), "pooler")
    TextVectors.from_directory(encoder, torch.device("cpu"))


def test_terms_use_each_head_for_its_own_texts() -> None:
    torch.manual_seed(0)
    network = RaseNetwork(6, RaseHparams(width=4)).eval()
    batch = Encoded(
        facts=torch.randn(2, 6),
        sentences=torch.randn(3, 6),
        owners=torch.tensor([0, 1, 1]),
        unrelated=torch.randn(2, 6),
        unrelated_owners=torch.tensor([0, 1]),
    )
    terms = rase_terms(network, batch, RaseHparams())
    facts, sentences = network.facts(batch.facts), network.sentences(batch.sentences)
    torch.testing.assert_close(terms.sentences, group_loss(sentences, sentences, batch.owners, 10))
    own = torch.tensor([0, 1])
    expected = torch.nn.functional.cross_entropy(facts @ facts.T * 10, own)
    torch.testing.assert_close(terms.facts, expected)
    torch.testing.assert_close(terms.total(), terms.sentences + terms.facts + terms.margin)
