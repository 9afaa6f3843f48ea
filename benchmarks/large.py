"""How time and memory grow with the data: ``python benchmarks/large.py [--stages A,B] [--folder F] [SCALE ...]``.

City 1 at each scale (by default 1:1000, 1:100) is generated, encoded, read in the order of training without a model,
evaluated without a model, and trained on for one epoch, with one thread. Each stage runs in a process of its own, and
the smallest scale before and after every other one, so that its mean has seen the same machine. A second process reads
every 20 ms what the system says of that process and its children: memory of their own (``RssAnon``) is what must be
bounded, pages of files (``RssFile``: libraries, and what was read of mapped arrays) are the page cache's, which the
system takes back. With a ``--folder`` the data stay there, and stages that need them can be measured alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from machine import line
from rich.console import Console
from rich.table import Table

from bench.core.cell import Cell
from bench.core.config import Config
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.data.encoding import EncodingSettings, encode
from bench.data.source import SourceOptions
from bench.data.sources.six_cities import SixCities
from bench.metrics.torch_metrics import FunnelMetrics
from bench.training.predictions import truth_of, write_predictions
from bench.training.train import train_cell

#: The aims: memory of its own in GB, and time per row against the smallest scale.
GIGABYTES, SLOWER = 3.0, 1.15
CITY, MODEL = "1", "esmm"
PROBABILITIES = ("ctr", "cvr", "ctcvr", "car", "ctcar")


class Measured(NamedTuple):
    """Rows, seconds, seconds of processors, and the largest memory of its own and of files in MB."""

    rows: int
    seconds: float
    processor: float
    own: float
    files: float


def generate(folder: Path, scale: float) -> int:
    """Funnel tables; rows are exposures, without those of the warm-up."""
    SixCities(SourceOptions(scale=scale)).write(CITY, folder / "tables")
    return round(1_004_000_000 * scale)


def encoding(folder: Path, scale: float) -> int:
    """Encoded arrays."""
    encode(folder / "tables", folder / "arrays", EncodingSettings(threads=1))
    return round(1_004_000_000 * scale)


def batches(folder: Path, scale: float) -> int:
    """All batches of a training epoch, with histories."""
    return sum(len(batch.rows) for batch in FunnelDataModule(_city(folder), Config()).train_dataloader())


def evaluate(folder: Path, scale: float) -> int:
    """All batches of the test rows, metrics of five probabilities for each, predictions on disk."""
    city, rng = _city(folder), torch.Generator().manual_seed(0)
    metrics = FunnelMetrics(PROBABILITIES)
    users, rows = np.asarray(city.user), 0
    for batch in FunnelDataModule(city, Config()).test_dataloader():
        found = torch.rand(len(PROBABILITIES), len(batch.rows), generator=rng, dtype=torch.float64)
        labels = dict(zip(("click", "cart", "purchase"), batch.labels.unbind(1), strict=False))
        metrics.update(
            dict(zip(PROBABILITIES, found, strict=True)), labels, torch.from_numpy(users[batch.rows.numpy()])
        )
        rows += len(batch.rows)
    metrics.results(truth_of(city, "test"))
    write_predictions(folder / "predictions" / "test.parquet", city, metrics.probabilities())
    return rows


def training(folder: Path, scale: float) -> int:
    """A cell: one epoch, validation, test, predictions and weights; rows are those of all splits."""
    city = _city(folder)
    cell = Cell(
        dataset=city.meta.dataset, fingerprint=city.meta.fingerprint, city=CITY, model=MODEL, config=Config(), seed=0
    )
    train_cell(cell, city, folder / "cell")
    return max(stop for _, stop in city.meta.splits.values())


def _city(folder: Path) -> EncodedCity:
    return EncodedCity.load(folder / "arrays")


class Stage(NamedTuple):
    """What is run, and the folder that it fills, if any."""

    run: Callable[[Path, float], int]
    fills: str = ""


STAGES = {
    "generate": Stage(generate, "tables"),
    "encode": Stage(encoding, "arrays"),
    "batches": Stage(batches),
    "evaluate": Stage(evaluate, "predictions"),
    "train": Stage(training, "cell"),
}


def measure(stage: str, folder: Path, scale: float) -> Measured:
    """Run a stage in a process of its own and watch its memory."""
    if fills := STAGES[stage].fills:
        shutil.rmtree(folder / fills, ignore_errors=True)
        (folder / fills).mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(there, stage, folder, scale))
    process.start()
    there.close()
    own = files = 0.0
    while not here.poll(0.02):
        now = [_resident(pid) for pid in _with_children(process.pid or 0)]
        own, files = max(own, sum(each[0] for each in now)), max(files, sum(each[1] for each in now))
    try:
        rows, seconds, processor = here.recv()
    except EOFError:
        raise SystemExit(f"the stage {stage} ended without a result") from None
    process.join()
    return Measured(rows, seconds, processor, own, files)


def _run(connection: Connection, stage: str, folder: Path, scale: float) -> None:
    torch.set_num_threads(1)
    start, processor = time.perf_counter(), time.process_time()
    rows = STAGES[stage].run(folder, scale)
    connection.send((rows, time.perf_counter() - start, time.process_time() - processor))


def _with_children(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += _with_children(int(child))
    return found


def _resident(pid: int) -> tuple[float, float]:
    """RssAnon and RssFile of a process in MB; 0 when it has ended."""
    try:
        values = dict(text.split(":", 1) for text in Path(f"/proc/{pid}/status").read_text().splitlines())
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    own, files = (int(values.get(name, "0").split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
    return own, files


def _mean(measured: Sequence[Measured]) -> Measured:
    """Means of the times, the largest of the memory."""
    rows, seconds, processor, own, files = zip(*measured, strict=True)
    return Measured(rows[0], float(np.mean(seconds)), float(np.mean(processor)), max(own), max(files))


def compare(stage: str, folder: Path, scales: Sequence[float]) -> list[Measured]:
    """The measurements of a stage at each scale; the first one before and after every other."""
    small, large = [measure(stage, folder / f"x{scales[0]:g}", scales[0])], []
    for scale in scales[1:]:
        large.append(measure(stage, folder / f"x{scale:g}", scale))
        small.append(measure(stage, folder / f"x{scales[0]:g}", scales[0]))
    return [_mean(small), *large]


def show(found: dict[str, list[Measured]], scales: Sequence[float]) -> Table:
    """A row for each stage and scale."""
    columns = ("scale", "rows", "rows/s", f"s/row to first, aim {SLOWER}", "processor time/row to first")
    table = Table("stage", *columns, f"own memory, GB, aim {GIGABYTES:g}", "files, GB")
    for stage, measured in found.items():
        first = measured[0]
        for scale, each in zip(scales, measured, strict=True):
            ratios = (
                f"{each[place] / each.rows * first.rows / first[place]:.2f} ×" if each is not first else ""
                for place in (1, 2)
            )
            table.add_row(
                stage if each is first else "", f"1:{1 / scale:,.0f}", f"{each.rows:,}",
                f"{each.rows / each.seconds:,.0f}", *ratios, f"{each.own / 1024:.2f}", f"{each.files / 1024:.2f}",
                end_section=each is measured[-1],
            )  # fmt: skip
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("scales", type=float, nargs="*", default=[0.001, 0.01])
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = {stage: compare(stage, folder, chosen.scales) for stage in chosen.stages.split(",")}
    console = Console(width=120)
    console.print(show(found, chosen.scales))
    console.print(
        f"City {CITY} of the six cities, one thread as in a worker of two; {MODEL} at its defaults in the stage train."
    )
    console.print(line("duckdb", "numpy", "pyarrow", "torch"))


if __name__ == "__main__":
    main()
