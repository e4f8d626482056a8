"""RECIPE against the numbers that its released code computed."""

from __future__ import annotations

import dataclasses
import json
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from editors.base import EditRequest, Resources
from editors.parts.language_model import LanguageModel
from editors.parts.prefix import prefixed
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.recipe.losses import Objective, RecipeBatch, Terms, hinged_nll, kl_divergence
from editors.parts.recipe.network import PromptRepository, RecipeNetwork, Trained, similarity
from editors.parts.recipe.training import learning_rates
from editors.parts.tokens import TokenBatch, batch_of, batch_of_ids
from editors.parts.training.examples import statement
from editors.parts.training.task import floats_of
from editors.recipe import RecipeEditor
from tests.parity import recipe_numbers
from tests.parity.loading import full_directory
from tests.parity.recipe_numbers import CODE_MODES, HPARAMS, Numbers

FAMILIES = ("llama", "gpt2", "gptj")
TOLERANCE = 1e-4  # representations, logits and losses
ADAM_RATE = 1e-3  # of the recorded optimiser step
TERMS = {
    "no": "neighbour",
    "so_relgen": "sentinel_edit",
    "so_loc": "sentinel_locality",
    "rel": "reliability",
    "gen": "generality",
    "loc": "locality",
}


@pytest.fixture(
    scope="module", params=["selection", pytest.param("full", marks=pytest.mark.parity)]
)
def numbers(request: pytest.FixtureRequest) -> Numbers:
    if request.param == "selection":
        return recipe_numbers.load(recipe_numbers.SELECTION)
    return recipe_numbers.load(full_directory() / "recipe")


@pytest.fixture
def network(numbers: Numbers) -> RecipeNetwork:
    return recipe_numbers.network(numbers)


@pytest.fixture(params=FAMILIES)
def lm(request: pytest.FixtureRequest, numbers: Numbers) -> LanguageModel:
    return recipe_numbers.language_model(numbers, request.param)


def close(ours: Tensor, recorded: Tensor) -> None:
    torch.testing.assert_close(ours.to(recorded.dtype), recorded, atol=TOLERANCE, rtol=0)


def repository(numbers: Numbers) -> PromptRepository:
    return PromptRepository(numbers.tensor("retr.base"), numbers.tensor("retr.prompts"))


@pytest.mark.parity
def test_no_array_of_the_full_recordings_is_missing() -> None:
    directory = full_directory() / "recipe"
    described = json.loads((directory / "arrays.json").read_text(encoding="utf-8"))
    arrays = recipe_numbers.load(directory).arrays
    shapes = {name: {"shape": list(a.shape), "dtype": str(a.dtype)} for name, a in arrays.items()}
    assert shapes == {
        name: {"shape": value["shape"], "dtype": value["dtype"]}
        for name, value in described.items()
    }


@torch.no_grad()
def test_encoder_pools_and_projects_like_the_original(
    numbers: Numbers, network: RecipeNetwork
) -> None:
    ids, mask = numbers.tensor("enc.input_ids"), numbers.tensor("enc.attention_mask")
    states = network.encoder.transformer(input_ids=ids, attention_mask=mask)
    real = mask.bool()
    close(states.last_hidden_state[real], numbers.tensor("enc.last_hidden_state")[real])
    close(states.pooler_output, numbers.tensor("enc.pooler_output"))
    pooled = network.pooled(ids, mask)
    close(pooled, numbers.tensor("enc.pooled"))
    close(network.queries(pooled), numbers.tensor("enc.rep_query"))
    keys = network.knowledge(pooled)
    close(keys, numbers.tensor("enc.rep_knowledge"))
    close(network.prompts(keys), numbers.tensor("enc.prompts"))


def test_texts_become_the_recorded_encoder_ids(numbers: Numbers) -> None:
    batcher = recipe_numbers.batcher()
    ids, mask = batcher.pad(batcher.ids(numbers.texts["queries"]), torch.device("cpu"))
    assert torch.equal(ids, numbers.tensor("retr.query_input_ids"))
    assert torch.equal(mask, numbers.tensor("retr.query_attention_mask"))


@torch.no_grad()
def test_sentinel_skips_the_embedding_module(numbers: Numbers, network: RecipeNetwork) -> None:
    states = network.encoder.transformer.encoder(network.sentinel).last_hidden_state
    close(states, numbers.tensor("sentinel.last_hidden_state"))
    close(network.encoder.forward_hidden(network.sentinel), numbers.tensor("sentinel.pooled"))
    close(network.sentinel_key(), numbers.tensor("sentinel.rep"))


@torch.no_grad()
def test_editing_fills_the_repository_and_retrieves_like_the_original(
    numbers: Numbers, network: RecipeNetwork
) -> None:
    lm = recipe_numbers.language_model(numbers, "llama")
    editor = recipe_editor(lm, HPARAMS, network)
    editor.edit(requests(numbers)[:6])
    state = editor.state_dict()
    close(state["keys"], numbers.tensor("retr.base"))
    close(state["prompts"], numbers.tensor("retr.prompts"))
    ids, mask = numbers.tensor("retr.query_input_ids"), numbers.tensor("retr.query_attention_mask")
    queries = network.queries(network.pooled(ids, mask))
    close(similarity(queries, state["keys"], scaled=True), numbers.tensor("retr.sim"))
    recorded = numbers.tensor("retr.decision").clamp(min=0)  # -1 stands for none
    assert torch.equal(editor.retrieve(numbers.texts["queries"]), recorded)
    knowledge = [statement(request) for request in requests(numbers)[:6]]
    batcher = recipe_numbers.batcher()
    ids, mask = batcher.pad(batcher.ids(knowledge), torch.device("cpu"))
    assert torch.equal(ids, numbers.tensor("retr.knowledge_input_ids"))
    assert torch.equal(mask, numbers.tensor("retr.knowledge_attention_mask"))


@torch.no_grad()
def test_logits_equal_the_original_in_its_own_modes(numbers: Numbers, lm: LanguageModel) -> None:
    batch, retrieved = forward_batch(numbers, lm)
    real = batch.attention_mask.bool()
    if f"{lm.name}.fwd.logits_plain" in numbers.arrays:
        close(lm.logits(batch)[real], numbers.tensor(f"{lm.name}.fwd.logits_plain")[real])
    prompts = repository(numbers).prompts[retrieved]
    with as_in_code(lm, prompts, retrieved > 0):
        ours = lm.logits(batch)
    close(ours[real], numbers.tensor(f"{lm.name}.fwd.logits_edited")[real])


@torch.no_grad()
def test_default_modes_equal_a_textbook_prefix(numbers: Numbers, lm: LanguageModel) -> None:
    batch, retrieved = forward_batch(numbers, lm)
    real = batch.attention_mask.bool() & (retrieved > 0)[:, None]
    with prefixed(lm, repository(numbers).prompts[retrieved], retrieved > 0):
        ours = lm.logits(batch)
    recorded = f"{lm.name}.fwd.logits_prefix_embeds"
    if recorded not in numbers.arrays:  # on LLaMA the original is a textbook prefix
        recorded = f"{lm.name}.fwd.logits_edited"
    close(ours[real], numbers.tensor(recorded)[real])


def test_retrieval_text_of_a_row_decides_like_the_original(
    numbers: Numbers, lm: LanguageModel, network: RecipeNetwork
) -> None:
    editor = recipe_editor(lm, HPARAMS, network)
    editor.load_state_dict(editor.state_dict() | repository(numbers).state_dict())
    batch, retrieved = forward_batch(numbers, lm)
    assert torch.equal(editor.retrieve(batch.texts), retrieved)


@pytest.mark.parametrize("family", ["gpt2", "gptj"])
@pytest.mark.parametrize(("kind", "row"), [("hit", 0), ("miss", 3)])
@torch.no_grad()
def test_cached_decoding_equals_the_original(
    numbers: Numbers, family: str, kind: str, row: int
) -> None:
    lm = recipe_numbers.language_model(numbers, family)
    batch, retrieved = forward_batch(numbers, lm)
    ids = batch.input_ids[row : row + 1, : batch.lengths[row]]
    prompts = repository(numbers).prompts[retrieved[row : row + 1]]
    with as_in_code(lm, prompts, retrieved[row : row + 1] > 0):
        tokens, logits = decode(lm, ids, steps=4)
    recorded = f"{family}.gen.{kind}"
    assert tokens == numbers.tensor(f"{recorded}.tokens").tolist()
    close(logits, numbers.tensor(f"{recorded}.logits"))
    forced = torch.cat([ids, torch.tensor([tokens[:-1]])], dim=1)
    with as_in_code(lm, prompts, retrieved[row : row + 1] > 0):
        ours = lm.model(input_ids=forced, use_cache=False).logits[0, ids.shape[1] - 1 :]
    close(ours, numbers.tensor(f"{recorded}.logits_teacher_forced"))


@pytest.mark.parametrize("step", [0, 1])
def test_all_loss_terms_of_a_training_batch(
    numbers: Numbers, lm: LanguageModel, network: RecipeNetwork, step: int
) -> None:
    hparams = code_hparams(lm)
    terms = terms_of(numbers, lm, network, hparams, step)
    prefix = f"{lm.name}.train{step}"
    compare_terms(numbers, terms, prefix, hparams, suffix="")
    total = terms.total(hparams).item()
    recorded_ema = numbers.number(f"{prefix}.ema_loss")
    assert 1 + (total - 1) / 10 == pytest.approx(recorded_ema, abs=TOLERANCE)


@pytest.mark.parametrize("step", [0, 1])
def test_loss_terms_without_hinge(numbers: Numbers, network: RecipeNetwork, step: int) -> None:
    lm = recipe_numbers.language_model(numbers, "llama")
    hparams = dataclasses.replace(HPARAMS, edit_hinge=None, contrastive_hinge=None)
    terms = terms_of(numbers, lm, network, hparams, step)
    if f"llama.train{step}.loss_no_nohinge" in numbers.arrays:
        compare_terms(numbers, terms, f"llama.train{step}", hparams, suffix="_nohinge")


def test_gradients_and_one_adam_step(
    numbers: Numbers, lm: LanguageModel, network: RecipeNetwork
) -> None:
    hparams = dataclasses.replace(code_hparams(lm), learning_rate=ADAM_RATE)
    rates = learning_rates(network, hparams)
    optimiser = torch.optim.Adam([{"params": weights, "lr": rate} for weights, rate in rates])
    terms_of(numbers, lm, network, hparams, 0).total(hparams).backward()
    parameters = dict(network.named_parameters())
    prefix = f"{lm.name}.train0"
    graded = [n for n in numbers.arrays if n.startswith(f"{prefix}.grad_")]
    assert len(graded) >= 5
    for name in graded:
        gradient = parameters[recipe_numbers.our_name(name.removeprefix(f"{prefix}.grad_"))].grad
        assert gradient is not None
        close(gradient, numbers.tensor(name))
    optimiser.step()
    stepped = [n for n in numbers.arrays if n.startswith(f"{prefix}.after_")]
    assert len(stepped) == 2
    for name in stepped:
        ours = parameters[recipe_numbers.our_name(name.removeprefix(f"{prefix}.after_"))]
        close(ours.detach(), numbers.tensor(name))


@pytest.mark.parametrize("hinge", [1.0, 1.2, 1.5, 3.0, None])
def test_hinged_likelihood(numbers: Numbers, hinge: float | None) -> None:
    logits, labels, real = loss_inputs(numbers)
    ours = hinged_nll(logits[real], labels[real], hinge=hinge, eps=1e-8)
    recorded = numbers.number(f"fn.hinged_nll_{hinge or 999999}")
    assert float(ours) == pytest.approx(recorded, abs=TOLERANCE)


def test_hinged_likelihood_with_every_token_dropped(numbers: Numbers) -> None:
    logits, _, real = loss_inputs(numbers)
    sure = 20 * logits[real]
    ours = hinged_nll(sure, sure.argmax(-1), hinge=1.2, eps=1e-8)
    assert float(ours) == numbers.number("fn.hinged_nll_all_dropped") == 0


def test_divergence(numbers: Numbers) -> None:
    logits, _, real = loss_inputs(numbers)
    ours = kl_divergence(logits[real], numbers.tensor("fn.logits2")[real])
    assert float(ours) == pytest.approx(numbers.number("fn.kl"), abs=TOLERANCE)


def test_sample_order(numbers: Numbers) -> None:
    order = np.arange(42)
    np.random.default_rng(0).shuffle(order)
    assert order.tolist() == numbers.tensor("eval.order_loaded").tolist()
    np.random.default_rng(0).shuffle(order)
    assert order.tolist() == numbers.tensor("eval.order_sequential").tolist()


@torch.no_grad()
def test_single_edits_score_like_the_original(
    numbers: Numbers, lm: LanguageModel, network: RecipeNetwork
) -> None:
    editor = recipe_editor(lm, code_hparams(lm), network)
    loaded = numbers.tensor("eval.order_loaded").tolist()[:8]
    samples = [numbers.texts["edit_samples"][i] for i in loaded]
    scores = np.array([single_edit_scores(editor, sample) for sample in samples])
    for column, metric in enumerate(("reliability", "generality", "locality")):
        recorded = numbers.array(f"{lm.name}.eval.single.{metric}")
        np.testing.assert_allclose(scores[:, column], recorded, atol=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "gptj"])
@torch.no_grad()
def test_general_scorers_of_an_unedited_model(numbers: Numbers, family: str) -> None:
    lm = recipe_numbers.language_model(numbers, family)
    hits = []
    for question, options, answer in numbers.texts["mc_items"]:
        logits = lm.model(input_ids=torch.tensor([lm.tokenizer(question)["input_ids"]])).logits
        first = [lm.tokenizer(option)["input_ids"][0] for option in options]
        hits.append(options[int(logits[0, -1, first].argmax())] == answer)
    assert hits == numbers.array(f"{family}.general.mc_hit").astype(bool).tolist()
    assert np.mean(hits) == pytest.approx(numbers.number(f"{family}.general.mc_accuracy"))
    inverse = [inverse_perplexity(lm, item) for item in numbers.texts["ppl_items"]]
    np.testing.assert_allclose(inverse, numbers.array(f"{family}.general.inv_ppl_items"), atol=1e-6)
    assert np.mean(inverse) == pytest.approx(numbers.number(f"{family}.general.inv_ppl"), abs=1e-6)


def requests(numbers: Numbers) -> list[EditRequest]:
    return [
        EditRequest(prompt=s["prompt"], target=s["target_new"], subject=s["subject"])
        for s in numbers.texts["edit_samples"]
    ]


def recipe_editor(
    lm: LanguageModel, hparams: RecipeHparams, network: RecipeNetwork
) -> RecipeEditor:
    trained = Trained(network, recipe_numbers.batcher())
    return RecipeEditor(lm, hparams, Resources(), trained=trained)


def as_in_code(lm: LanguageModel, prompts: Tensor, hits: Tensor) -> AbstractContextManager[None]:
    """The released code's injection for a backbone."""
    hparams = code_hparams(lm)
    return prefixed(lm, prompts, hits, inject=hparams.inject, positions=hparams.positions)


def code_hparams(lm: LanguageModel) -> RecipeHparams:
    """The released code's settings for a backbone."""
    return RecipeHparams.from_dict(HPARAMS.to_dict() | CODE_MODES[lm.name])


def forward_batch(numbers: Numbers, lm: LanguageModel) -> tuple[TokenBatch, Tensor]:
    """The recorded rows as a batch, and the repository row of each (0 for none)."""
    ids = numbers.tensor(f"{lm.name}.fwd.input_ids")
    lengths = numbers.tensor(f"{lm.name}.fwd.len").tolist()
    prompts = [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]
    texts = [str(lm.tokenizer.decode(ids, skip_special_tokens=True)) for ids in prompts]
    empty: list[list[int]] = [[] for _ in prompts]
    batch = batch_of_ids(prompts, empty, texts, padding=2, device=lm.device)
    return batch, numbers.tensor(f"{lm.name}.fwd.retrieved").clamp(min=0)


def decode(lm: LanguageModel, ids: Tensor, *, steps: int) -> tuple[list[int], Tensor]:
    """Greedy tokens and the logits [steps, V] that chose them, with a cache."""
    cache = DynamicCache(config=lm.model.config)
    tokens: list[int] = []
    logits = []
    for _ in range(steps):
        logits.append(lm.model(input_ids=ids, past_key_values=cache).logits[0, -1])
        tokens.append(int(logits[-1].argmax()))
        ids = torch.tensor([[tokens[-1]]])
    return tokens, torch.stack(logits)


def terms_of(
    numbers: Numbers, lm: LanguageModel, network: RecipeNetwork, hparams: RecipeHparams, step: int
) -> Terms:
    """Our loss terms of a recorded training batch."""
    encoder = {name: encoder_rows(numbers, f"train{step}.enc.{name}") for name in _ENCODER_ROWS}
    batch = RecipeBatch(
        knowledge=encoder["knowledge"],
        queries=[*encoder["q_rel"], *encoder["q_gen"], *encoder["q_loc"]],
        rows=[
            row
            for part in ("rel", "gen", "loc")
            for row in scored_rows(numbers, f"{lm.name}.train{step}.{part}")
        ],
        generality_first=numbers.tensor(f"train{step}.choice").bool().tolist(),
    )
    return Objective(lm, Trained(network, recipe_numbers.batcher()), hparams).terms(batch)


_ENCODER_ROWS = ("knowledge", "q_rel", "q_gen", "q_loc")


def encoder_rows(numbers: Numbers, prefix: str) -> list[list[int]]:
    ids, mask = numbers.tensor(f"{prefix}_input_ids"), numbers.tensor(f"{prefix}_attention_mask")
    return [row[real.bool()].tolist() for row, real in zip(ids, mask, strict=True)]


def scored_rows(numbers: Numbers, prefix: str) -> list[tuple[list[int], list[int]]]:
    """(prompt ids, target ids) of recorded inputs, labels and label masks."""
    rows = zip(*(numbers.tensor(f"{prefix}_{part}") for part in "xym"), strict=True)
    return [(x[: int(m.argmax()) + 1].tolist(), y[m.bool()].tolist()) for x, y, m in rows]


def compare_terms(
    numbers: Numbers, terms: Terms, prefix: str, hparams: RecipeHparams, *, suffix: str
) -> None:
    for recorded, ours in TERMS.items():
        value = numbers.number(f"{prefix}.loss_{recorded}{suffix}")
        assert floats_of(vars(terms))[ours] == pytest.approx(value, abs=TOLERANCE), recorded
    total = numbers.number(f"{prefix}.loss_total{suffix}")
    assert terms.total(hparams).item() == pytest.approx(total, abs=TOLERANCE)


def loss_inputs(numbers: Numbers) -> tuple[Tensor, Tensor, Tensor]:
    real = numbers.tensor("fn.mask").bool()
    return numbers.tensor("fn.logits"), numbers.tensor("fn.labels"), real


def single_edit_scores(editor: RecipeEditor, sample: dict[str, str]) -> list[float]:
    """Reliability, generality and locality of one edit, as the original evaluates them."""
    lm = editor.lm
    pairs = [
        (sample["prompt"], sample["target_new"]),
        (sample["rephrase_prompt"], sample["target_new"]),
        (sample["locality_prompt"], sample["locality_ground_truth"]),
    ]
    batches = [
        batch_of(lm.tokenizer, [pair], device=lm.device, retrieval_text="teacher_forced")
        for pair in pairs
    ]
    wanted = [batches[0].labels, batches[1].labels, lm.target_logits(batches[2]).argmax(-1)]
    editor.edit(
        [
            EditRequest(
                prompt=sample["prompt"], target=sample["target_new"], subject=sample["subject"]
            )
        ]
    )
    scores = []
    for batch, labels in zip(batches, wanted, strict=True):
        with editor.steering(batch):
            right = lm.target_logits(batch).argmax(-1) == labels
        scores.append(float(right.float().mean()))
    editor.reset()
    return scores


def inverse_perplexity(lm: LanguageModel, item: list[str]) -> float:
    """exp(mean log p) of an answer's tokens."""
    batch = batch_of(lm.tokenizer, [(item[0], item[1])], device=lm.device)
    chosen = lm.target_logits(batch).log_softmax(-1).gather(-1, batch.labels[:, None])
    return float(chosen.mean().exp())


def test_every_recorded_array_is_used(numbers: Numbers, request: pytest.FixtureRequest) -> None:
    """Comes last, after every test that reads arrays."""
    module = request.module
    functions = [item for item in request.session.items if isinstance(item, pytest.Function)]
    here = {function.originalname for function in functions if function.module is module}
    reading = vars(module).keys() - {test_no_array_of_the_full_recordings_is_missing.__name__}
    if not here >= {name for name in reading if name.startswith("test_")}:
        pytest.skip("only some tests of this module were selected")
    assert numbers.arrays.keys() - numbers.read == set()
