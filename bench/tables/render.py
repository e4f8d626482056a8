"""Tables as Markdown, LaTeX and CSV, and for the terminal."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.console import csv_cell, markdown_line, one_line
from bench.core.files import write_text
from bench.core.numerics import Spread
from bench.tables.table import Number, TextTable, View

if TYPE_CHECKING:
    from rich.table import Table as RichTable

# What a table in a terminal can do without, in this order; the first group stays.
_LESS = tuple(
    re.compile(pattern)
    for pattern in (
        r"( \([\d.]+)±[\d.]+(?=\))",
        r"()(?<=[\d†‡]) \[[\d., -]+\]\*?",
        r"()(?<=[-\d†‡*\]]) \(.*\)",
        r"()(?<=\d)±[\d.]+",
    )
)
_LATEX = {character: rf"\{character}" for character in "&%_#${}"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "±": r"$\pm$",
    "\u2020": r"$\dagger$",
    "\u2021": r"$\ddagger$",
    "\u00a7": r"\S{}",
}


def write_table(stem: str, view: View, directory: Path) -> list[Path]:
    """Write `<stem>.md`, `.csv` and `.tex`; each appears whole or not at all.

    Raises:
        OSError: the directory cannot be written.
    """
    contents = {"md": markdown(view.text), "csv": to_csv(view), "tex": latex(view.text)}
    return [write_text(directory / f"{stem}.{kind}", text) for kind, text in contents.items()]


def markdown(table: TextTable) -> str:
    """A GitHub table under its caption; the leading columns are aligned left, numbers right."""
    rule = ["---"] * table.lead + ["---:"] * (len(table.columns) - table.lead)
    lines = map(markdown_line, (table.columns, rule, *_marked(table, str, "**{}**")))
    return "\n".join((*map(one_line, table.caption), "", *lines, ""))


def latex(table: TextTable) -> str:
    """A `table*` that needs the booktabs package."""
    width = len(table.columns)
    cells, rules, end = [], [], 0
    for heading, names in table.groups:
        start, end = end + 1, end + len(names)
        cells.append(rf"\multicolumn{{{len(names)}}}{{c}}{{{_escape(heading)}}}")
        rules += [rf"\cmidrule(lr){{{start}-{end}}}"] if heading else []
    lines = [
        r"\begin{table*}",
        r"\centering\scriptsize",
        r"\setlength{\tabcolsep}{2pt}",
        rf"\caption{{{_escape(' '.join(table.caption))}}}",
        rf"\begin{{tabular}}{{{'l' * table.lead}{'r' * (width - table.lead)}}}",
        r"\toprule",
        " & ".join(cells) + r" \\",
        " ".join(rules),
        " & ".join(_escape(name) for _, names in table.groups for name in names) + r" \\",
        r"\midrule",
    ]
    for i, row in enumerate(_marked(table, _escape, r"\textbf{{{}}}")):
        lines += [r"\midrule"] if i in table.breaks else []
        lines.append(" & ".join(row) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""]
    return "\n".join(lines)


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def terminal(table: TextTable, width: int | None = None) -> Iterator[RichTable]:
    """One rich table per group of columns: a whole row of the paper is wider than a terminal.

    What does not fit the width goes first that matters least: spreads of published values,
    intervals, published values, our own spreads.
    """
    from rich.markup import escape
    from rich.table import Table

    lead = start = table.lead
    for part in _LESS:
        if width is None or _widest(table) <= width:
            break
        less = (tuple(part.sub(r"\1", text) for text in row) for row in table.rows)
        table = replace(table, rows=tuple(less))
    rows = [
        [
            _bold(cell) if (i, j) in table.best else escape(one_line(cell))
            for j, cell in enumerate(row)
        ]
        for i, row in enumerate(table.rows)
    ]
    for heading, columns in table.groups[1:]:
        rich = Table(title=heading or None, title_justify="left")
        for i, name in enumerate((*table.groups[0][1], *columns)):
            words = 0 < i < lead or not name
            # In a narrow terminal numbers go on a second line; names stay whole.
            rich.add_column(name, justify="left" if words else "right", no_wrap=i < lead)
        for i, row in enumerate(rows):
            if i in table.breaks:
                rich.add_section()
            rich.add_row(*row[:lead], *row[start : start + len(columns)])
        start += len(columns)
        yield rich


def _bold(cell: str) -> str:
    """The cell with our own number, in front of the published one, in bold."""
    from rich.markup import escape

    ours, bracket, published = one_line(cell).partition(" (")
    return f"[bold]{escape(ours)}[/bold]{escape(bracket + published)}"


def _widest(table: TextTable) -> int:
    """Characters of the widest of the tables that `terminal` makes."""
    names = [name for _, group in table.groups for name in group]
    columns = zip(names, *table.rows, strict=True)
    sizes = [3 + max(map(len, column)) for column in columns]  # with a rule and two spaces
    starts = itertools.accumulate((len(group) for _, group in table.groups), initial=0)
    groups = [sizes[start:end] for start, end in itertools.pairwise(starts)]
    return 1 + sum(groups[0]) + max(map(sum, groups[1:]), default=0)


def _marked(table: TextTable, escape: Callable[[str], str], form: str) -> list[list[str]]:
    """The rows, escaped, with `form` around the best numbers."""
    return [
        [form.format(text) if (i, j) in table.best else text for j, text in enumerate(own)]
        for i, own in enumerate(map(escape, row) for row in table.rows)
    ]


def to_csv(view: View) -> str:
    """One line per number, in the form of the published tables, both values side by side."""
    facts = (_facts(view, number) for number in view.numbers if number.metric)
    return csv_of(view.csv_columns, map(itemgetter(*view.csv_columns), facts))


def _facts(view: View, number: Number) -> Mapping[str, str | int]:
    row, ours, interval = number.row, number.ours, number.interval
    value, std = decimals(ours)
    published_value, _, published_std = number.published_text.partition("±")
    return {
        "table": view.table.number, "backbone": row.backbone, "n_edits": row.n_edits,
        "type": row.family, "editor": row.label, "dataset": number.dataset,
        "metric": number.metric, "value": value, "std": std, "seeds": ours.n if ours else 0,
        "low": f"{interval.low:.2f}" if interval else "",
        "high": f"{interval.high:.2f}" if interval else "",
        "interval_over": interval.over if interval else "",
        "published_backbone": view.table.published_backbone,
        "published_value": published_value, "published_std": published_std,
        "remark": "; ".join(number.remarks), "protocol": number.protocol, **number.extra,
    }  # fmt: skip


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """CSV text with a head."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([csv_cell(c) if isinstance(c, str) else c for c in row] for row in rows)
    return buffer.getvalue()


def decimals(value: Spread | None) -> tuple[str, str]:
    """Mean and spread with two decimals; empty for no number."""
    if value is None:
        return "", ""
    return f"{value.mean:.2f}", "" if value.std is None else f"{value.std:.2f}"
