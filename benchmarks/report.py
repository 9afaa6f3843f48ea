"""How long ``bench report`` takes: ``python benchmarks/report.py OUT [ROUNDS]`` for a folder with stored cells."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.core.errors import UserError
from bench.results.store import Store
from reports.builder import build_report

#: The aim: so many stored cells in so many seconds.
CELLS, SECONDS = 500, 60.0


def main(out: Path, rounds: int) -> None:
    """Build the report of ``out`` a few times, with all checksums verified as the command does."""
    cells = len(Store(out).records())
    if not cells:
        raise UserError(f"{out} must hold stored cells, but has none; start `bench run` first.")
    seconds = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            Store(out).check()
            build_report(out, Path(folder) / "report")
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    table = Table("stored cells", "seconds (median)", "fastest-slowest", f"per {CELLS} cells", f"of {SECONDS:g} s")
    scaled = median * CELLS / cells
    spread = f"{min(seconds):.1f}-{max(seconds):.1f}"
    table.add_row(str(cells), f"{median:.1f}", spread, f"{scaled:.1f}", f"{scaled / SECONDS:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
