"""The generator: equal seeds give equal worlds, splits are disjoint, facts are consistent."""

from __future__ import annotations

import pytest

from bench.world.world import BY_KEY, RELATIONS, STYLES, Fact, World, phrase


@pytest.fixture(scope="module")
def world() -> World:
    return World(0)


def test_equal_seeds_give_equal_worlds_and_others_do_not(world: World) -> None:
    assert World(0).core == world.core
    assert World(1).core != world.core
    with pytest.raises(ValueError, match="0 or more, got -1"):
        World(-1)


def test_every_relation_has_four_styles() -> None:
    assert len(RELATIONS) >= 15
    for relation in RELATIONS:
        assert all(relation.phrasings[style] for style in STYLES)
        prefixes = [prefix for style in STYLES for prefix in relation.phrasings[style]]
        assert all(prefix.count("{s}") == 1 for prefix in prefixes)
        assert len(set(prefixes)) == len(prefixes)


def test_core_size_and_pairs(world: World) -> None:
    assert 4000 <= len(world.core) <= 4800
    single = [f.pair for f in world.core if not BY_KEY[f.relation].many]
    assert len(set(single)) == len(single)


def test_inverse_facts_are_both_there(world: World) -> None:
    facts = set(world.core)
    for fact in world.core:
        if fact.relation in ("spouse", "capital", "capital_of"):
            inverse = BY_KEY[fact.relation].inverse
            assert inverse is not None
            assert Fact(fact.object, inverse, fact.subject) in facts
    for fact in world.by_relation["capital"]:  # a capital lies in its country
        assert Fact(fact.object, "country", fact.subject) in facts


def test_pairs_and_entities_are_split_without_overlap(world: World) -> None:
    test = {f.pair for f in world.core_test}
    train = {f.pair for f in world.core_train}
    unedited = {split: {f.pair for f in facts} for split, facts in world.unedited.items()}
    assert not test & train
    assert not unedited["test"] & (test | train | unedited["train"])
    assert not unedited["train"] & test
    assert train < unedited["train"]  # training locality asks about other samples' edits
    assert set().union(test, *unedited.values()) == {f.pair for f in world.core}
    names = [
        set().union(*(world.unseen[split].entities[k] for k in ("person", "company", "work")))
        for split in ("train", "test")
    ]
    core = {f.subject for f in world.core}
    assert not names[0] & names[1]
    assert not (names[0] | names[1]) & core


def test_other_object_is_wrong_and_of_the_right_type(world: World) -> None:
    rng = world.rng("a test")
    for fact in world.core[::97]:
        other = world.other_object(fact, rng)
        assert other in world.entities[BY_KEY[fact.relation].object]
        assert other not in world.objects[fact.pair]
        assert other != fact.subject


def test_phrase_wraps_around() -> None:
    fact = Fact("Ann", "birthplace", "Rome")
    assert phrase(fact, "question", 0) == phrase(fact, "question", 3) == "Where was Ann born?"
    assert phrase(fact, "nq") == "nq question: where was Ann born"
