"""What tests of RECIPE train on: a tiny encoder and a few made edits."""

from __future__ import annotations

from pathlib import Path

from bench.checks.contract.tiny import write_encoder
from editors.base import EditRequest, EditSample, Probe, Resources

_PLACES = ("Arl", "Bem", "Cus", "Dov", "Eri", "Fol", "Gan", "Hix", "Ion", "Jap")
_COLOURS = ("red", "blue", "green")


def samples(count: int = 40) -> tuple[EditSample, ...]:
    """Edits of made places, each with one rephrase and one unrelated question."""
    return tuple(_sample(number) for number in range(count))


def _sample(number: int) -> EditSample:
    place = _PLACES[number % 10] + _PLACES[number // 10 % 10].lower()
    colour = _COLOURS[number * 7 % 3]
    rephrase = Probe(kind="rephrase", prompt=f"Colour of {place}:", target=colour)
    neighbour = Probe(kind="neighbour", prompt=f"{number} and one make", target=str(number + 1))
    return EditSample(
        id=f"made/{number}",
        request=EditRequest(prompt=f"{place} is", target=colour, subject=place),
        generality=(rephrase,),
        locality=(neighbour,),
    )


def resources(directory: Path, *, seed: int = 0) -> Resources:
    """Resources for `Recipe.fit`: a tiny encoder, written under `directory`."""
    return Resources(encoder=write_encoder(directory / "encoder"), seed=seed)
