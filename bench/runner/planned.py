"""The cells that runs were asked for, so that a report or status can say what is still missing."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from bench.core.cell import Cell
from bench.core.publish import write_atomically
from bench.runner.layout import Layout


def write_planned(layout: Layout, cells: Sequence[Cell]) -> None:
    """Add ``cells`` to those that were asked for; cells of older versions of their model files make way."""
    codes = {cell.model: cell.code for cell in cells}
    before = [cell for cell in read_planned(layout) if codes.get(cell.model, cell.code) == cell.code]
    known = {cell.key: cell for cell in (*before, *cells)}
    write_atomically(layout.planned, json.dumps([cell.model_dump(mode="json") for cell in known.values()], indent=0))


def read_planned(layout: Layout) -> list[Cell]:
    """Every cell that was asked for; none where the file is missing, damaged or of an older version."""
    try:
        return TypeAdapter(list[Cell]).validate_json(layout.planned.read_bytes())
    except (OSError, ValidationError):
        return []
