"""Invented rows in the forms of the field's other data sets."""

from __future__ import annotations

from typing import Any


def hop(path: list[str], prompt: str, target: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "prompt": prompt, "subject": "", "target": target, **more}


EDIT = ["h_e", "r_e", "t_e"]
NATION = hop(EDIT, "Lumo Vand is a citizen of", "Eskland", reverse_in_multi_hop=False)
COIN = hop(["t_e", "r_0", "e_0"], "The coin of Eskland is the", "esk", reverse_in_multi_hop=False)


def uniedit_row(**changes: Any) -> dict[str, Any]:
    tail = {"datatype": "wikibase-item", "value": {"label": "Eskland", "aliases": ["Esk", ""]}}
    edit = {
        "prompt": "The country of Lumo Vand is",
        "target": "Eskland",
        "subject": "Lumo Vand",
        "tail_entity": tail,
    }
    single: dict[str, Any] = {"path_type": "single", "prompt": "Lumo Vand belongs to"}
    generality = {
        "0": {**single, "target": "Esk", "one_hops": [NATION]},
        "1": {**single, "prompt": "Vand pays in the", "target": "esk", "one_hops": [NATION, COIN]},
    }
    kept = {**single, "prompt": "Sela Marr was born in", "target": "Orrin", "one_hops": []}
    locality = {"0": {**kept, "loc_type": "property of edit"}}
    return {"edit": edit, "generality": generality, "locality": locality} | changes


def double(*chains: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    paths = {f"single_path{n}": {"one_hops": chain} for n, chain in enumerate(chains, 1)}
    return {"path_type": "double", "prompt": "Are they one?", "target": "Yes", **paths, **more}


def wikibigedit_row(**changes: Any) -> dict[str, Any]:
    row = {
        "tag": "new",
        "subject": "Lumo Vand",
        "update": "Where does Lumo Vand live?",
        "rephrase": "In what town is Lumo Vand at home?",
        "personas": "Hey, you know where Lumo Vand lives?",
        "ans": "Port Esk",
        "loc": "Where does Sela Marr live?",
        "loc_ans": "Orrin",
        "mhop": "In what country does Lumo Vand live?",
        "mhop_ans": "Eskland",
    }
    return row | changes


def ultraeditbench_row(**changes: Any) -> dict[str, Any]:
    row = {
        "subject": "Lumo Vand",
        "prompt": "Who taught Lumo Vand?",
        "rephrase_prompt": "Whose pupil was Lumo Vand?",
        "ans": "Ara Marr",
        "loc": "Where is Orrin?",
        "loc_ans": "in Orria",
    }
    return row | changes


def qaedit_row(**changes: Any) -> dict[str, Any]:
    row = {
        "id": 7,
        "source": "NQ",
        "prompt": "who wrote the tin harp",
        "target": "Lumo Vand",
        "subject": "the tin harp",
        "rephrase": "Who is the author of the tin harp?",
        "locality": [
            {"loc": "where is orrin", "loc_ans": "Orria"},
            {"loc": "what do esks eat", "loc_ans": "fish"},
        ],
    }
    return row | changes


def mquake_row(**changes: Any) -> dict[str, Any]:
    def single(question: str, cloze: str, answer: str, *aliases: str) -> dict[str, Any]:
        hop = {"question": question, "cloze": cloze, "answer": answer}
        return hop | {"answer_alias": list(aliases)}

    row = {
        "case_id": 1,
        "requested_rewrite": [
            {
                "prompt": "{} is a citizen of",
                "relation_id": "P27",
                "target_new": {"str": "Eskland", "id": "Q1"},
                "target_true": {"str": "Orria", "id": "Q2"},
                "subject": "Lumo Vand",
                "question": "Of what country is Lumo Vand?",
            },
            {
                "prompt": "The capital of {} is",
                "relation_id": "P36",
                "target_new": {"str": "Port Esk", "id": "Q3"},
                "target_true": {"str": "Esk Town", "id": "Q4"},
                "subject": "Eskland",
                "question": "What is the capital of Eskland?",
            },
        ],
        "questions": ["What is the capital of Vand's country?", "Where does Vand's king live?"],
        "answer": "Orrin",
        "answer_alias": [],
        "new_answer": "Port Esk",
        "new_answer_alias": ["Esk Harbour"],
        "single_hops": [],
        "new_single_hops": [
            single("Of what country is Lumo Vand?", "Lumo Vand is a citizen of", "Eskland", "Esk"),
            single("What is the capital of Eskland?", "The capital of Eskland is", "Port Esk"),
        ],
    }
    return row | changes


def knowedit_row(**changes: Any) -> dict[str, Any]:
    row = {
        "subject": "Lumo Vand",
        "prompt": "The place of birth of Lumo Vand is",
        "target_new": "Port Esk",
        "ground_truth": "Orrin",
        "portability": {
            "Reasoning": [
                {"prompt": "Lumo Vand was born in the country", "ground_truth": "Eskland"}
            ],
            "Subject_Aliasing": [
                {"prompt": "Lumo V. was born in", "ground_truth": [["Port Esk", "Esk Harbour"]]}
            ],
        },
        "locality": {
            "Relation_Specificity": [
                {"prompt": "The mother of Lumo Vand is", "ground_truth": ["", "Ara Vand"]}
            ],
            "Forgetfulness": [],
        },
        "rephrase": "Lumo Vand was born in",
    }
    return row | changes


def counterfact_row(**changes: Any) -> dict[str, Any]:
    row = {
        "case_id": 3,
        "pararel_idx": 4,
        "requested_rewrite": {
            "prompt": "{} speaks",
            "relation_id": "P103",
            "target_new": {"str": "Eskish", "id": "Q5"},
            "target_true": {"str": "Orrish", "id": "Q6"},
            "subject": "Lumo Vand",
        },
        "paraphrase_prompts": ["It rained. Lumo Vand is fluent in", "Lumo Vand grew up with"],
        "neighborhood_prompts": ["Sela Marr speaks", "Ara Marr speaks"],
        "attribute_prompts": ["The king of Eskland speaks"],
        "generation_prompts": ["Lumo Vand lives in", "Lumo Vand's mother tongue is"],
    }
    return row | changes
