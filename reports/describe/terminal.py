"""A description in the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from bench.data.describe.results import Description
from reports.describe.parts import Table
from reports.describe.sections import sections, summary, title_of


def show(found: Description, console: Console) -> None:
    """Print everything but the tables that are folded away in Markdown."""
    console.print(f"[bold]{escape(title_of(found))}[/]")
    console.print(escape(summary(found)))
    for section in sections(found):
        tables = [table for table in section.tables if not table.folded]
        if not (section.points or tables) and section.tables:
            continue
        console.print(f"\n[bold]{escape(section.title)}[/]")
        for line in section.text:
            console.print(escape(_plain(line)), highlight=False)
        for index, point in enumerate(section.points, start=1):
            console.print(escape(f"{index}. {_plain(point)}"), highlight=False)
        for table in tables:
            console.print(_table(table))


def _plain(text: str) -> str:
    """``text`` without the marks of bold and italic type."""
    return text.replace("**", "").replace("*", "")


def _table(table: Table) -> RichTable:
    shown = RichTable(title=escape(table.title), box=box.SIMPLE_HEAD, title_justify="left")
    kept = [index for index in range(len(table.header)) if index not in table.wide]
    for index in kept:
        shown.add_column(
            escape(table.header[index]),
            justify="right" if index else "left",
            overflow="fold",
            min_width=max(map(len, table.header[index].split()), default=0) if len(kept) > 6 else None,
            no_wrap=len(kept) > 6 and not index,
        )
    for row in table.rows:
        shown.add_row(*(escape(row[index]) for index in kept))
    return shown
