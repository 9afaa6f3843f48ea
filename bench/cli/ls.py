"""``bench ls``: models, datasets, exhibits, and what is stored."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.table import Table

from bench.cli import _options as options


def ls(out: options.Out = Path("runs")) -> None:
    """List everything that can be run and what is stored.

    Example: `bench ls`
    """
    from rich.console import Console
    from rich.markup import escape

    from bench.core.registry import EXHIBITS, MODELS, SOURCES
    from bench.results.store import Store

    console = Console(highlight=False)
    models = _table("model", "title", "needs", "own knobs", "source")
    for name, model in MODELS.all().items():
        models.add_row(name, model.title, "\n".join(model.needs), "\n".join(model.knobs) or "-", model.source)
    sources = _table("dataset", "what it is")
    for name, source in SOURCES.all().items():
        sources.add_row(name, source.summary)
    exhibits = _table("exhibit", "title", "needs", "trained by --exhibit")
    for name, exhibit in EXHIBITS.all().items():
        exhibits.add_row(name, exhibit.title, exhibit.needs, exhibit.trains())
    for table in (models, sources, exhibits):
        console.print(table)
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
