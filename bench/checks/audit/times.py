"""Table 3's editors in the order of their edit time, and what each adds to an inference."""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks.audit.findings import Check, Finding, Numbers
from bench.checks.claims.times import EDIT, INFERENCE, TABLE, plain_inference
from bench.core.published import PublishedCell


def find(numbers: Numbers) -> Iterator[Finding]:
    """One finding each."""
    values = {place: number.value for place, number in numbers.items()}
    edit, inference = ([p for p in values if p.metric == metric] for metric in (EDIT, INFERENCE))
    plain = plain_inference(values, TABLE)
    if edit:
        yield _order(values, sorted(edit, key=values.__getitem__))
    if plain:
        yield _overhead({place.editor: values[place] / plain - 1 for place in inference}, plain)


def _order(values: dict[PublishedCell, float], places: list[PublishedCell]) -> Finding:
    listed = ", ".join(f"{place.editor} {place.text(values[place])}" for place in places)
    return Finding(
        place="table3/order",
        verdict="noted",
        sentence=f"Table 3, seconds of an edit, the fastest first: {listed}.",
        numbers={place.editor: values[place] for place in places},
    )


def _overhead(overheads: dict[str, float], plain: float) -> Finding:
    listed = ", ".join(f"{editor} {share:+.1%}" for editor, share in overheads.items())
    return Finding(
        place="table3/overhead",
        verdict="noted",
        sentence=f"Table 3, inference time over the {plain:.4f} s without an editor: {listed}.",
        numbers={"plain_s": plain, **overheads},
    )


CHECK = Check(
    key="times",
    title="Edit times and inference overheads",
    rule="The unedited model is not timed; the median of the editors that modify weights, which "
    "add nothing to an inference, stands for it.",
    find=find,
)
