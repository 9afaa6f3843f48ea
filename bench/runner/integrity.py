"""Are the stored tables and arrays as they were written?"""

from __future__ import annotations

from bench.core.errors import UserError
from bench.data.checks import check_tables
from bench.data.encoded import EncodedCity
from bench.runner.layout import Layout


def damaged_data(layout: Layout) -> tuple[int, list[str]]:
    """Number of data folders, and one line for everything in them that is damaged."""
    lines: list[str] = []
    tables = [*sorted(layout.tables.glob("[!.]*")), *sorted(layout.logs.glob("[!.]*"))]
    encoded = sorted(layout.encoded.glob("[!.]*"))
    for folder in tables:
        try:
            lines += check_tables(folder)
        except UserError as error:
            lines.append(str(error))
    for folder in encoded:
        try:
            lines += EncodedCity.load(folder).verify()
        except UserError as error:
            lines.append(str(error))
    return len(tables) + len(encoded), lines
