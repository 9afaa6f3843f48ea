"""``bench ls``: models, datasets, exhibits, and what is stored."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.table import Table

from bench.cli import _options as options


def ls(out: options.Out = Path("runs")) -> None:
    """List everything that can be run, which model fits which data, and what is stored.

    Example: `bench ls`
    """
    from rich.console import Console
    from rich.markup import escape

    from bench.cli._fits import fit_tables, imported
    from bench.core.registry import EXHIBITS, MODELS, SOURCES
    from bench.results.store import Store
    from bench.runner.layout import Layout

    console = Console(highlight=False)
    models = _table("model", "title", "needs", "own knobs", "source")
    for name, model in MODELS.all().items():
        models.add_row(name, model.title, "\n".join(model.needs), "\n".join(model.knobs) or "-", model.source)
    sources = _table("dataset", "what it is")
    for name, source in SOURCES.all().items():
        sources.add_row(name, source.summary)
    logs, damaged = imported(Layout(out))
    for name, manifest in logs.items():
        sources.add_row(name, f"imported log of {manifest.counts.get('exposures', 0):,} exposures")
    # What "tables" lacks is up to the folder.
    lacks = {name: source.lacks for name, source in SOURCES.all().items() if name != "tables"}
    lacks |= {name: manifest.lacks for name, manifest in logs.items()}
    reasons = _table("dataset", "what it cannot supply")
    for name, facts in lacks.items():
        if facts:
            reasons.add_row(name, "\n".join(f"{fact}: the log {reason}" for fact, reason in facts.items()))
    exhibits = _table("exhibit", "title", "needs", "trained by --exhibit")
    for name, exhibit in EXHIBITS.all().items():
        exhibits.add_row(name, exhibit.title, exhibit.needs, exhibit.trains())
    fits = fit_tables(MODELS.all(), lacks, console.width)
    for table in (models, sources, *fits, reasons, exhibits):
        console.print(table)
    for line in damaged:
        console.print(f"[red]broken log[/] {escape(line)}", soft_wrap=True)
    for registry in (MODELS, SOURCES, EXHIBITS):
        for name, error in registry.broken.items():
            reason = escape(error.strip().splitlines()[-1])
            console.print(f"[red]broken {registry.kind}[/] {escape(name)}: {reason}", soft_wrap=True)
    contents = Store(out).scan()
    datasets = sorted({record.cell.dataset for record in contents.records})
    console.print(
        f"stored in {out}: {len(contents.records)} cells"
        + (f" ({', '.join(datasets)})" if datasets else "")
        + f", {len(contents.failures)} failed, {len(contents.damaged)} damaged",
        soft_wrap=True,
        markup=False,
    )


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(column, no_wrap=index == 0, overflow="fold")
    return table
