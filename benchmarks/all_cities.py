"""How long ``bench run --all-cities`` takes, and where its time goes: ``python benchmarks/all_cities.py [OPTIONS]``.

The data are made before, by as many processes as the run has; then the command runs in a fresh folder, as a user gives
it. Every model's row is the mean over its cells: seconds in all and in training, of a step of it, and what the matrix
products of its dense part would take at the peak that one thread reaches. The last line is the whole run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
from dense import operations, product_peak
from machine import line
from rich.console import Console
from rich.table import Table
from roofline import SIZES

from bench.core.config import Config
from bench.core.record import Record
from bench.core.registry import MODELS
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.data.source import SourceOptions
from bench.modeling.fitted import FittedModule
from bench.modeling.inputs import InputShape
from bench.results.store import Store
from bench.runner.pool import Pool, default_jobs
from bench.runner.prepare import open_source
from bench.runner.run import open_output, prepare
from bench.training.train import quiet

#: The aims: seconds of the whole at the defaults, and megabytes of a process that trains a cell.
SECONDS, MEGABYTES = 360.0, 1000.0


def make(out: Path, scale: float) -> tuple[float, list[Path]]:
    """Seconds to make the data of all cities, and the folders of their arrays."""
    open_output(out)
    source = open_source("six_cities", SourceOptions(scale=scale))
    pool = Pool(default_jobs(), lambda event: None)
    start = time.perf_counter()
    try:
        prepared = prepare(out, [(source, city) for city in source.cities()], pool)
    finally:
        pool.close()
    for error in prepared.errors.values():
        raise error
    return time.perf_counter() - start, [*prepared.folders.values()]


def run(out: Path, options: argparse.Namespace) -> float:
    """Seconds of the command.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-m", "bench.cli.main", "run", "--all-cities", "--out", str(out)]
    command += ["--seeds", str(options.seeds), "--scale", str(options.scale)]
    command += ["--models", options.models] if options.models else []
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    start = time.perf_counter()
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - start


def products(folder: Path, names: list[str]) -> dict[str, float]:
    """Seconds per row that the products of each model's dense part take at the peak of one thread."""
    torch.set_num_threads(1)
    city, config, found = EncodedCity.load(folder), Config(), {}
    batch = next(iter(FunnelDataModule(city, config).train_dataloader()))
    peaks: dict[torch.dtype, float] = {}
    for name in names:
        built = MODELS.get(name)
        if not issubclass(built, FittedModule):
            model = built(config, InputShape.of(city, config))
            dtype = model.dtype_of_products
            if dtype not in peaks:
                peaks[dtype] = max(product_peak(size, 5, dtype) for size in SIZES)
            found[name] = operations(model, batch) / len(batch.rows) / peaks[dtype]
    return found


def show(records: dict[str, list[Record]], least: dict[str, float], console: Console) -> float:
    """Print the table; seconds that all products take at the peak of one thread."""
    table = Table("model", "cells", "s a cell", "training, s", "a step, ms", "products at the peak, s", "memory, MB")
    for column in table.columns[1:]:
        column.justify = "right"
    whole = 0.0
    for name, found in records.items():
        rows = statistics.fmean(record.cost.train_rows for record in found)
        train, wall = (
            statistics.fmean(getattr(record.cost, field) for record in found)
            for field in ("train_seconds", "wall_seconds")
        )
        steps = rows / found[0].cell.config.batch_size
        at_peak = rows * least.get(name, 0.0)
        whole += at_peak * len(found)
        step, floor = (f"{train / steps * 1e3:.1f}", f"{at_peak:.2f}") if name in least else ("", "")
        memory = max(record.cost.peak_memory_mb for record in found)
        title = MODELS.get(name).title
        table.add_row(title, str(len(found)), f"{wall:.2f}", f"{train:.2f}", step, floor, f"{memory:,.0f}")
    console.print(table)
    return whole


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", help="names, separated by commas (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--scale", type=float, default=0.001, help="(default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options, console = parse(arguments), Console(width=120)
    quiet()
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "runs"
        data, folders = make(out, options.scale)
        took = run(out, options)
        records: dict[str, list[Record]] = defaultdict(list)
        for record in sorted(Store(out).records(), key=lambda record: record.cell.model):
            records[record.cell.model].append(record)
        whole = show(records, products(folders[0], [*records]), console)
    every = [record for found in records.values() for record in found]
    jobs, together = default_jobs(), max(record.notes.get("together", 1) for record in every)
    busy = sum(record.cost.wall_seconds for record in every) / jobs / took
    memory = max(record.cost.peak_memory_mb for record in every)
    console.print(
        f"{len(every)} cells of {len(folders)} cities at 1:{1 / options.scale:,.0f}: {took:,.0f} s, "
        f"{took / SECONDS:.2f} × the {SECONDS:g} s that the defaults may take; data made before in {data:.0f} s.\n"
        f"{jobs} processes, busy with cells {busy:.0%} of the time, at most {together} cells at once in one of them; "
        f"all products at the peak: {whole / jobs:.0f} s; at most {memory:,.0f} MB (aim {MEGABYTES:,.0f})."
    )
    console.print(line("torch", "pytorch-lightning"))


if __name__ == "__main__":
    main()
