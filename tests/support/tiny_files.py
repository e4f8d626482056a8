"""Tiny models as Hugging Face directories, and the training data of tiny RECIPEs."""

from __future__ import annotations

from pathlib import Path

from bench.checks.contract.tiny import TINY, write_encoder
from editors.base import EditRequest, EditSample, Probe, Resources

_PLACES = ("Arl", "Bem", "Cus", "Dov", "Eri", "Fol", "Gan", "Hix", "Ion", "Jap")
_COLOURS = ("red", "blue", "green")


def save_tiny(architecture: str, directory: Path) -> Path:
    """Write the tiny model of an architecture (safetensors, configuration, tokenizer)."""
    lm = TINY[architecture]()
    lm.model.save_pretrained(directory)
    lm.tokenizer.save_pretrained(directory)
    return directory


def samples(count: int = 40) -> tuple[EditSample, ...]:
    """Edits of invented places, each with one rephrase and one unrelated question."""
    return tuple(_sample(number) for number in range(count))


def _sample(number: int) -> EditSample:
    place = _PLACES[number % 10] + _PLACES[number // 10 % 10].lower()
    colour = _COLOURS[number * 7 % 3]
    rephrase = Probe(kind="rephrase", prompt=f"Colour of {place}:", target=colour)
    neighbour = Probe(kind="neighbour", prompt=f"{number} and one make", target=str(number + 1))
    return EditSample(
        id=f"tiny/{number}",
        request=EditRequest(prompt=f"{place} is", target=colour, subject=place),
        generality=(rephrase,),
        locality=(neighbour,),
    )


def resources(directory: Path, *, seed: int = 0) -> Resources:
    """Resources for `Recipe.fit`: a tiny encoder, written under `directory`."""
    return Resources(encoder=write_encoder(directory / "encoder"), seed=seed)
