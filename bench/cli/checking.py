"""Whether numbers and editors are right: the commands `check`, `audit` and `contract`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bench.cli.arguments import PROTOCOL, Option, add, one_of, whole
from bench.core.config import RESULTS
from bench.core.console import markdown_table, say
from bench.core.files import write_text
from bench.core.grids import TABLES, Preset, Table, get_table
from bench.core.published import all_numbers
from bench.store.inventory import records_of_protocol, split_stale, warn_of_stale
from bench.store.results import ResultStore, is_complete
from editors import registry

if TYPE_CHECKING:
    from bench.checks.regression.compare import Outcome
    from bench.checks.regression.evidence import Comparison, Verdicts

SCHEMA = 1  # of the JSON of `check`
AGAINST = ("reference", "published")
# Presets whose results are committed, in words.
REFERENCES: dict[Preset, str] = {"embedded": "the embedded world", "small": "SmolLM2-135M"}


def add_check(parser: argparse.ArgumentParser) -> None:
    """The arguments of `check`."""
    add(
        parser,
        Option("--table", "N", "default: all, and figures", whole(1)),
        Option(
            "--against",
            "SIDE",
            "reference or published (default: both)",
            one_of("side", AGAINST),
        ),
        Option("--out", "DIR", "records (default: results/)", Path),
        Option("--jobs", "N", "worker processes", whole(1)),
        Option(
            "--data-dir",
            "DIR",
            "real data, for the part of the small preset's reference that "
            "is run again (default: left out)",
            Path,
        ),
        Option("--json", "FILE", "write all of it to FILE", Path),
        Option("--markdown", "FILE", "write a report to FILE", Path),
        Option("--pin", "FILE", "write the verdicts on claims as the known ones", Path),
        PROTOCOL,
    )
    parser.set_defaults(func=check)


def check(args: argparse.Namespace) -> int:
    """Exit code 0 where nothing changed."""
    tables = [get_table(args.table)] if args.table else [*TABLES.values()]
    outcomes: list[Outcome] = []
    claims: list[Verdicts] = []
    comparisons: list[Comparison] = []
    if args.against != "published":
        outcomes = _references(args)
    good = True
    if args.against != "reference":
        claims = _claims(args.table)
        comparisons = _published(tables, args)
        good = _known(claims, args)
    good &= all(outcome.good for outcome in outcomes)
    good &= all(comparison.verdict == "agrees" for comparison in comparisons)
    _write(args, outcomes, claims, comparisons)
    say("check: " + ("passed" if good else "failed"))
    return int(not good)


def _references(args: argparse.Namespace) -> list[Outcome]:
    """The committed files, then a part of their cells, run again."""
    from bench.checks.regression.committed import committed
    from bench.checks.regression.rerun import PARTS, rerun

    table = args.table
    parts = [part for part in PARTS if table in (None, part.cells.table)]
    names = {part.name for part in parts} | {f"{part.name}-recent" for part in parts}
    say("The committed reference, as it is on disk")
    outcomes = [each for each in committed() if table is None or each.reference in names]
    for outcome in outcomes:
        _say(outcome)
    say("A part of the reference, run again")
    for outcome in rerun(parts, jobs=args.jobs, data_dir=args.data_dir):
        _say(outcome)
        outcomes.append(outcome)
    return outcomes


def _say(outcome: Outcome) -> None:
    detail = f": {outcome.detail}" if outcome.detail else ""
    say(f"  {outcome.verdict:<8} {outcome.reference}: {outcome.cell}{detail}")


def _claims(table: int | None) -> list[Verdicts]:
    """Those of one table, or of all tables and figures."""
    from bench.checks.judging import Exhibit
    from bench.checks.regression.evidence import reference_evidence, verdicts

    wanted = None if table is None else Exhibit("table", table)
    every: list[Verdicts] = []
    for preset, where in REFERENCES.items():
        judged = [
            each
            for each in verdicts(reference_evidence(preset), preset)
            if wanted in (None, each.published.exhibit)
            and (preset == "embedded" or each.ours.verdict != "not tested")
        ]
        if judged:
            say(f"The paper's claims, on its numbers and on the reference results of {where}")
        for each in judged:
            pair = "".join(f"{verdict:<12}" for verdict in each.pair)
            say(f"  {pair}{each.published.exhibit}: {each.published.claim.text}")
            say(f"      published: {each.published.figures}")
            say(f"      ours: {each.ours.figures}")
        every += judged
    return every


def _published(tables: Sequence[Table], args: argparse.Namespace) -> list[Comparison]:
    from bench.checks.regression.evidence import compare_published

    store = ResultStore(args.out or RESULTS)
    records, stale = split_stale(record for record in store.records() if is_complete(record))
    warn_of_stale(stale)
    if args.protocol is not None:
        records = records_of_protocol(records, args.protocol)
    every = [each for table in tables for each in compare_published(table, records)]
    if not every:
        say(f"Published cells: no unlimited record of the paper's backbones in {store.directory}.")
        return []
    differing = [comparison for comparison in every if comparison.verdict == "differs"]
    say(f"Published cells: {len(every) - len(differing)} of {len(every)} agree")
    for comparison in differing:
        say(f"  differs  {comparison}")
    return every


def _known(claims: Sequence[Verdicts], args: argparse.Namespace) -> bool:
    """Whether the verdicts are the known ones; with a path, they are written there as known."""
    from bench.checks.regression.evidence import PINS, pin, pinned

    if args.pin is not None:
        say(f"written: {pin({each.key: each.pair for each in claims}, args.pin)}")
        return True
    known = pinned()
    if known is None:
        say(f"  no known verdicts: {PINS} is not there; --pin FILE writes it")
        return False
    now = {each.key: each.pair for each in claims}
    if args.table is not None:
        known = {key: pair for key, pair in known.items() if key.endswith(f"/table{args.table}")}
    changed = [key for key in {**known, **now} if known.get(key) != now.get(key)]
    for key in changed:
        was, is_now = (" and ".join(side.get(key, ("no verdict",))) for side in (known, now))
        say(f"  changed  {key}: was {was} (published and ours), is {is_now}")
    return not changed


def _write(
    args: argparse.Namespace,
    outcomes: Sequence[Outcome],
    claims: Sequence[Verdicts],
    comparisons: Sequence[Comparison],
) -> None:
    content = _plain(outcomes, claims, comparisons)
    if args.json is not None:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        say(f"written: {write_text(args.json, text)}")
    if args.markdown is not None:
        say(f"written: {write_text(args.markdown, _markdown(content))}")


def _plain(
    outcomes: Sequence[Outcome], claims: Sequence[Verdicts], comparisons: Sequence[Comparison]
) -> dict[str, Any]:
    """All results as plain JSON values."""
    return {
        "schema": SCHEMA,
        "references": [asdict(outcome) for outcome in outcomes],
        "claims": [
            {
                "claim": each.key,
                "text": each.published.claim.text,
                "source": each.published.claim.source,
                **{
                    side: {"verdict": judgement.verdict, "figures": judgement.figures}
                    for side, judgement in (("published", each.published), ("ours", each.ours))
                },
            }
            for each in claims
        ],
        "published": [
            {
                "table": each.cell.table,
                "editor": each.cell.editor,
                "dataset": each.cell.dataset,
                "n_edits": each.cell.n_edits,
                "metric": each.cell.metric,
                "ours": each.ours.mean,
                "published": each.published.value,
                "allowed": each.allowed,
                "verdict": each.verdict,
            }
            for each in comparisons
        ],
    }


def _markdown(content: Mapping[str, Any]) -> str:
    """A report of the values of `_plain`."""
    parts = ["# Check", "Written by `python -m bench check`."]
    if content["references"]:
        names = ("verdict", "reference", "cell", "detail")
        reruns = ([row[name] for name in names] for row in content["references"])
        parts += ["## References, run again", markdown_table(names, reruns)]
    if content["claims"]:
        sides = ("published", "ours")
        claims = (
            [row[side]["verdict"] for side in sides]
            + [row["text"], row["source"]]
            + [row[side]["figures"] for side in sides]
            for row in content["claims"]
        )
        columns = (*sides, "claim", "source", "published figures", "our figures")
        parts += ["## The paper's claims", markdown_table(columns, claims)]
    if content["published"]:
        names = ("verdict", *(name for name in content["published"][0] if name != "verdict"))
        cells = ([str(row[name]) for name in names] for row in content["published"])
        parts += ["## Cells of the paper's backbones", markdown_table(names, cells)]
    return "\n\n".join(parts) + "\n"


def add_audit(parser: argparse.ArgumentParser) -> None:
    """The arguments of `audit`."""
    add(
        parser,
        Option("--markdown", "FILE", "write a report to FILE", Path),
        Option("--json", "FILE", "write ids, verdicts and numbers to FILE", Path),
    )
    parser.set_defaults(func=show_audit)


def show_audit(args: argparse.Namespace) -> int:
    """Exit code 0 whatever is found; what CI pins are the findings."""
    from bench.checks.audit import audit
    from bench.checks.audit.findings import lines, markdown, to_json

    sections = audit(all_numbers())
    for line in lines(sections):
        say(line)
    if args.markdown:
        say(f"written: {write_text(args.markdown, markdown(sections))}")
    if args.json:
        say(f"written: {write_text(args.json, to_json(sections))}")
    return 0


def add_contract(parser: argparse.ArgumentParser) -> None:
    """The arguments of `contract`."""
    parser.add_argument(
        "editor", metavar="EDITOR", help="a name, an installed editor's too, or a Python file"
    )
    parser.set_defaults(func=contract)


def contract(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 where a clause is broken."""
    key = registry.resolve(args.editor)
    label = registry.editor_class(key).label

    from bench.checks.contract import verdicts

    broken = total = 0
    with TemporaryDirectory() as folder:
        for verdict in verdicts(key, Path(folder)):
            total += 1
            broken += not verdict.holds
            for line in verdict.lines():
                say(line)
    say(f"{label}: {total - broken} of {total} clauses hold.")
    return int(bool(broken))
