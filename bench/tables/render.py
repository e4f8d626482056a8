"""Tables as Markdown, LaTeX and CSV, and for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.console import csv_cell, markdown_line, one_line
from bench.core.files import write_text
from bench.datasets import get_dataset
from bench.tables.layout import TextTable
from bench.tables.tabulate import METRICS, TableData

if TYPE_CHECKING:
    from rich.table import Table as RichTable

CSV_COLUMNS = (
    "table",
    "backbone",
    "n_edits",
    "type",
    "editor",
    "dataset",
    "metric",
    "value",
    "std",
    "seeds",
    "published_backbone",
    "published_value",
    "published_std",
    "remark",
    "protocol",
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


def write_table(stem: str, text: TextTable, csv_text: str, directory: Path) -> list[Path]:
    """Write `<stem>.md`, `.csv` and `.tex`; each appears whole or not at all.

    Raises:
        OSError: the directory cannot be written.
    """
    contents = {"md": markdown(text), "csv": csv_text, "tex": latex(text)}
    return [
        write_text(directory / f"{stem}.{suffix}", content) for suffix, content in contents.items()
    ]


def markdown(table: TextTable) -> str:
    """A GitHub table under its caption; the leading columns are aligned left, numbers right."""
    rule = ["---"] * table.lead + ["---:"] * (len(table.columns) - table.lead)
    rows = _marked(table, "**{}**")
    lines = (markdown_line(texts) for texts in (table.columns, rule, *rows))
    return "\n".join((*map(one_line, table.caption), "", *lines, ""))


def latex(table: TextTable) -> str:
    """A `table*` that needs the booktabs package."""
    width = len(table.columns)
    lines = [
        r"\begin{table*}",
        r"\centering\scriptsize",
        r"\setlength{\tabcolsep}{2pt}",
        rf"\caption{{{_escape(' '.join(table.caption))}}}",
        rf"\begin{{tabular}}{{{'l' * table.lead}{'r' * (width - table.lead)}}}",
        r"\toprule",
        *_latex_head(table),
        r"\midrule",
    ]
    escaped = replace(table, rows=tuple(tuple(map(_escape, row)) for row in table.rows))
    for i, row in enumerate(_marked(escaped, r"\textbf{{{}}}")):
        lines += [r"\midrule"] if i in table.breaks else []
        lines.append(" & ".join(row) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""]
    return "\n".join(lines)


def to_csv(data: TableData) -> str:
    """One line per number, in the form of the published tables, both values side by side."""
    return csv_of(CSV_COLUMNS, _csv_rows(data))


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """CSV text with a head."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([csv_cell(c) if isinstance(c, str) else c for c in row] for row in rows)
    return buffer.getvalue()


def terminal(table: TextTable) -> Iterator[RichTable]:
    """One rich table per group of columns: a whole row of the paper is wider than a terminal."""
    from rich.markup import escape
    from rich.table import Table

    lead = start = table.lead
    plain = tuple(tuple(escape(one_line(text)) for text in row) for row in table.rows)
    rows = _marked(replace(table, rows=plain), "[bold]{}[/bold]")
    for heading, columns in table.groups[1:]:
        rich = Table(title=heading or None, title_justify="left")
        for i, name in enumerate((*table.groups[0][1], *columns)):
            # In a narrow terminal numbers go on a second line; names stay whole.
            rich.add_column(name, justify="left" if 0 < i < lead else "right", no_wrap=i < lead)
        for i, row in enumerate(rows):
            if i in table.breaks:
                rich.add_section()
            rich.add_row(*row[:lead], *row[start : start + len(columns)])
        start += len(columns)
        yield rich


def _marked(table: TextTable, form: str) -> list[list[str]]:
    """The rows, with `form` around the best numbers."""
    return [
        [form.format(text) if (i, j) in table.best else text for j, text in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]


def _latex_head(table: TextTable) -> Iterator[str]:
    cells, rules, start = [], [], 1
    for heading, names in table.groups:
        end = start + len(names) - 1
        cells.append(rf"\multicolumn{{{len(names)}}}{{c}}{{{_escape(heading)}}}")
        rules += [rf"\cmidrule(lr){{{start}-{end}}}"] if heading else []
        start = end + 1
    yield " & ".join(cells) + r" \\"
    yield " ".join(rules)
    yield " & ".join(_escape(name) for _, names in table.groups for name in names) + r" \\"


def _csv_rows(data: TableData) -> Iterator[tuple[str | int, ...]]:
    for row in data.rows:
        for key in data.datasets:
            entry = data.entries.get((row.n_edits, row.editor, key))
            label = get_dataset(key).label
            values = {c: entry.values.get(c) if entry else None for c in METRICS}
            values["Avg prompt_only"] = entry.prompt_only if entry else None
            for metric, ours in values.items():
                theirs = data.published.get((row.n_edits, row.label, label, metric))
                yield (
                    data.table.number,
                    data.backbone,
                    row.n_edits,
                    row.family,
                    row.label,
                    label,
                    metric,
                    decimal(ours.mean if ours else None),
                    decimal(ours.std if ours else None),
                    ours.n if ours else 0,
                    data.table.published_backbone,
                    decimal(theirs.value if theirs else None),
                    decimal(theirs.std if theirs else None),
                    "; ".join(entry.remarks) if entry else "",
                    data.protocols[key],
                )


def decimal(value: float | None) -> str:
    """Two decimals; empty for no number."""
    return "" if value is None else f"{value:.2f}"


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in one_line(text))
