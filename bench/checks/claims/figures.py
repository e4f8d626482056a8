"""Claims about the number of continuous prompt tokens (CPTs): Figures 3 and 4.

The paper prints both as pictures only, so its own numbers are not there.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks.claims.base import Case, Claim, Distances, Evidence

LENGTHS_FIGURE, MAP_FIGURE = 3, 4
CHOSEN = 3  # CPTs of the paper's RECIPE
MORE = (4, 5)  # the paper's numbers of CPTs above it
MAPPED = (1, 3, 5)  # CPTs of the paper's Figure 4
EMBEDDING_SPACE = "embedding space"  # every other space is a map of the plane


def _one_dips_in_gen(evidence: Evidence, _figure: int) -> Iterator[Case]:
    rel, gen, loc = (_change(evidence, metric, to=1) for metric in ("Rel", "Gen", "Loc"))
    if rel is not None and gen is not None and loc is not None:
        yield Case(where="Gen", figures=f"{gen:+.2f} points", margin=-gen)
        for metric, other in (("Rel", rel), ("Loc", loc)):
            yield Case(
                where=f"Gen and {metric}",
                figures=f"{gen:+.2f} and {other:+.2f} points",
                margin=other - gen,
            )


def _more_raise_edits(evidence: Evidence, _figure: int) -> Iterator[Case]:
    yield from _changes(evidence, ("Rel", "Gen"), sign=1)


def _more_lower_locality(evidence: Evidence, _figure: int) -> Iterator[Case]:
    yield from _changes(evidence, ("Loc",), sign=-1)


def _changes(evidence: Evidence, metrics: tuple[str, ...], *, sign: int) -> Iterator[Case]:
    """Whether metrics go up (`sign` 1) or down (-1) with more tokens than the chosen number."""
    for length in MORE:
        for metric in metrics:
            change = _change(evidence, metric, to=length)
            if change is not None:
                yield Case(
                    where=f"{metric} with {length} CPTs",
                    figures=f"{change:+.2f} points",
                    margin=sign * change,
                )


def _change(evidence: Evidence, metric: str, *, to: int) -> float | None:
    """By how many points a metric is higher than with the chosen number of tokens."""
    usual, other = (evidence.lengths.get((length, metric)) for length in (CHOSEN, to))
    return None if usual is None or other is None else other - usual


def _nearest_in_maps(evidence: Evidence, _figure: int) -> Iterator[Case]:
    maps = {key: at for key, at in evidence.distances.items() if key[0] != EMBEDDING_SPACE}
    yield from _nearest(maps)


def _nearest_in_embeddings(evidence: Evidence, _figure: int) -> Iterator[Case]:
    space = {key: at for key, at in evidence.distances.items() if key[0] == EMBEDDING_SPACE}
    yield from _nearest(space)


def _nearest(distances: Distances) -> Iterator[Case]:
    """In each space that has all of the mapped numbers of tokens."""
    for space in dict.fromkeys(space for space, _ in distances):
        found = {length: distances.get((space, length)) for length in MAPPED}
        known = {length: ratio for length, ratio in found.items() if ratio is not None}
        if known.keys() == found.keys():
            chosen = known.pop(CHOSEN)
            shown = ", ".join(f"{ratio:.2f} with {length}" for length, ratio in known.items())
            yield Case(
                where=space,
                figures=f"distance ratio {chosen:.2f} with {CHOSEN} CPTs, {shown}",
                margin=min(known.values()) - chosen,
            )


CLAIMS = (
    Claim(
        key="one-cpt-dips-mostly-in-gen",
        text="RECIPE with one CPT has a lower Gen than with three, and loses more of it than of "
        "Rel or Loc",
        source="discussion of Figure 3",
        figures=(LENGTHS_FIGURE,),
        cases=_one_dips_in_gen,
    ),
    Claim(
        key="more-cpts-raise-rel-gen",
        text="more than three CPTs raise Rel and Gen",
        source="discussion of Figure 3",
        figures=(LENGTHS_FIGURE,),
        cases=_more_raise_edits,
    ),
    Claim(
        key="more-cpts-lower-loc",
        text="more than three CPTs lower Loc",
        source="discussion of Figure 3",
        figures=(LENGTHS_FIGURE,),
        cases=_more_lower_locality,
    ),
    Claim(
        key="three-cpts-nearest-words",
        text="of one, three and five CPTs, three lie nearest the word embeddings, in every map",
        source="discussion of Figure 4",
        figures=(MAP_FIGURE,),
        cases=_nearest_in_maps,
    ),
    Claim(
        key="three-cpts-nearest-words-unmapped",
        text="of one, three and five CPTs, three lie nearest the word embeddings, in their own "
        "space",
        source="ours: Figure 4 without its map, which does not keep distances",
        figures=(MAP_FIGURE,),
        cases=_nearest_in_embeddings,
    ),
)
