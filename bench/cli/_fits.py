"""The part of ``bench ls`` that tells which model fits which data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.table import Table

from bench.core.errors import UserError
from bench.data.tables import Manifest, read_manifest
from bench.runner.layout import Layout
from bench.runner.prepare import imported_logs
from bench.runner.supply import lacking

FITS = "✓"


def imported(layout: Layout) -> tuple[dict[str, Manifest], list[str]]:
    """The manifests of the imported logs by name, and a line for each that cannot be read."""
    found: dict[str, Manifest] = {}
    broken = []
    for name, folder in imported_logs(layout).items():
        try:
            found[name] = read_manifest(folder)
        except UserError as error:
            broken.append(str(error))
    return found, broken


def fit_tables(models: Mapping[str, Any], lacks: Mapping[str, Mapping[str, str]], width: int) -> Iterator[Table]:
    """Models × data: a tick, or the first fact that a model needs in vain.

    As many tables, one below the other, as data need that may take ``width`` columns of text.

    Args:
        models: classes by name.
        lacks: what the data lack and why, by their name.
    """
    columns: list[tuple[int, str, list[str]]] = []
    for data, facts in lacks.items():
        head = data.replace("_", "\n")
        cells = [next(iter(lacking(kind.needs, facts)), FITS) for kind in models.values()]
        columns.append((max(map(len, (*head.splitlines(), *cells))), head, cells))
    own = max(map(len, models), default=0)
    while columns:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("model", no_wrap=True, vertical="bottom")
        shown: list[list[str]] = []
        left = width - own - 4
        while columns and (not shown or columns[0][0] + 2 <= left):
            taken, head, cells = columns.pop(0)
            left -= taken + 2
            table.add_column(head, no_wrap=True, justify="center", vertical="bottom")
            shown.append(cells)
        for model, *row in zip(models, *shown, strict=True):
            table.add_row(model, *row)
        yield table
