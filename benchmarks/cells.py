"""Several seeds of one model, at once or not: ``python benchmarks/cells.py [--model NAME] [--seeds K] [OPTIONS]``.

The same K cells of City 1 are trained, evaluated and stored four ways: one after another in one process, in as many
processes as there are threads, all at once in one process over the same batches, and shared out to as many processes as
there are threads, each of which trains its own at once. Each way starts with fresh processes, whose imports are not
timed; rounds are interleaved. Beside each way: how far its test AUCs are from those of one after another.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch
from city import CITY, make_city
from machine import line
from rich.console import Console
from rich.table import Table

from bench.core.cell import Cell
from bench.core.config import Config
from bench.results.store import Store
from bench.runner import worker
from bench.runner.together import groups_of

#: The aim: so many times as fast as one after another, with five seeds on a CPU.
WANTED = 1.5
ONE_BY_ONE, PROCESSES, AT_ONCE, BOTH = "one after another", "processes", "at once", "at once in processes"
WAYS = (ONE_BY_ONE, PROCESSES, AT_ONCE, BOTH)

#: Cells that one call of the worker trains.
Group = tuple[Cell, ...]


def plan(way: str, cells: Group, threads: int) -> list[list[Group]]:
    """What each process trains, group by group."""
    if way in (AT_ONCE, BOTH):
        return [[group] for group in groups_of(cells, len(cells), threads if way == BOTH else 1)]
    singly: list[Group] = [(cell,) for cell in cells]
    count = min(threads, len(cells)) if way == PROCESSES else 1
    return [singly[first::count] for first in range(count)]


def run(way: str, cells: Group, out: Path, encoded: Path, threads: int) -> float:
    """Seconds from the first process's start of work to the last one's end.

    Raises:
        SystemExit: a cell failed, or the worker trained cells alone that it should have trained at once.
    """
    shares = plan(way, cells, threads)
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(len(shares) + 1)
    each = max(1, threads // len(shares))
    processes = [context.Process(target=_work, args=(ready, share, out, encoded, each)) for share in shares]
    for process in processes:
        process.start()
    ready.wait()
    start = time.perf_counter()
    for process in processes:
        process.join()
    took = time.perf_counter() - start
    failures = [f"{failure.cell.title}: {failure.reason}" for failure in Store(out).failures()]
    if failures or any(process.exitcode for process in processes):
        raise SystemExit("\n".join(failures) or "a process died")
    together = {record.notes.get("together", 1) for record in Store(out).records()}
    if together != {len(group) for share in shares for group in share}:
        raise SystemExit(f"{way}: cells must be trained so, but {together} were trained together")
    return took


def _work(ready: Barrier, share: list[Group], out: Path, encoded: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    ready.wait()
    for group in share:
        worker.run_cells(out, group, encoded, "off")


def areas(out: Path) -> dict[tuple[int, str], float]:
    """Test AUCs by seed and name."""
    return {
        (record.cell.seed, name): metric.value
        for record in Store(out).records()
        for name, metric in record.metrics["test"].items()
        if name.startswith("auc/") and metric.value is not None
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="esmm", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--precision", action="append", choices=("auto", "float32"), help="(default: both)")
    parser.add_argument("--scale", type=float, default=0.001, help="of City 1 (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options, console = parse(arguments), Console(width=120)
    title = f"{options.seeds} seeds of {options.model}, {options.threads} threads"
    columns = ("seconds (median)", "fastest-slowest", "to one after another", f"of {WANTED:g} ×", "AUCs differ by")
    table = Table("precision", title=title)
    table.add_column("way", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        meta = make_city(folder / "arrays", options.scale, options.threads).meta
        for precision in options.precision or ("auto", "float32"):
            config = Config(precision=precision)
            cells = tuple(
                Cell(
                    dataset=meta.dataset,
                    fingerprint=meta.fingerprint,
                    city=CITY,
                    model=options.model,
                    config=config,
                    seed=seed,
                )
                for seed in range(options.seeds)
            )
            found: dict[str, list[float]] = {way: [] for way in WAYS}
            measured: dict[str, dict[tuple[int, str], float]] = {}
            for turn in range(options.rounds):
                for way in WAYS:
                    out = folder / f"{precision} {way} {turn}"
                    found[way].append(run(way, cells, out, folder / "arrays", options.threads))
                    measured[way] = areas(out)
            for way in WAYS:
                taken = sorted(found[way])
                times = statistics.median(found[ONE_BY_ONE]) / statistics.median(taken)
                first = measured[ONE_BY_ONE]
                apart = max(abs(value - first[key]) for key, value in measured[way].items())
                table.add_row(
                    precision,
                    way,
                    f"{statistics.median(taken):.1f}",
                    f"{taken[0]:.1f}-{taken[-1]:.1f}",
                    f"{times:.2f} ×",
                    f"{times / WANTED:.2f} ×" if way in (AT_ONCE, BOTH) else "",
                    "" if way == ONE_BY_ONE else f"{apart:.1e}",
                )
    console.print(table)
    console.print(f"City 1 at 1:{1 / options.scale:,.0f}; each cell is trained, evaluated and stored.")
    console.print(line("torch"))


if __name__ == "__main__":
    main()
