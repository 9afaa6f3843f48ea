"""Where the time of a training step goes: ``python benchmarks/step.py [OPTIONS]``.

At the setting of ``throughput.py`` and at the defaults (City 1, with histories): medians over the steps of a plain
loop, part by part, and what a step takes more under the Trainer of a cell, on the same rows, in turn. Below them stands
the time that the matrix products of the dense part would take at the peak of a square one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from city import make_city
from dense import operations, product_peak
from loop import train
from machine import line
from rich.console import Console
from rich.table import Table
from roofline import SIZES, TABLE_CONFIG
from table import write_table

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.batches import Labels
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from bench.training.memory import keep_freed_memory
from bench.training.train import quiet

PARTS = (
    "batch",
    "lookup",
    "histories, concatenation",
    "towers and losses, forward",
    "towers and losses, backward",
    "histories and lookup, backward",
    "optimiser",
)
TRAINER, WHOLE, LEAST = "more under the Trainer", "a step", "products of the towers at the peak"


def parts(model: FunnelModule, city: EncodedCity, config: Config, steps: int) -> dict[str, float]:
    """Seconds of each of :data:`PARTS`, medians."""
    optimizer = model.optimizer()
    model.train()
    found: dict[str, list[float]] = {part: [] for part in PARTS}
    batches = iter(FunnelDataModule(city, config).train_dataloader())
    for _ in range(steps):
        ticks = _step(model, optimizer, batches)
        for part in PARTS:
            start = time.perf_counter()
            next(ticks)
            found[part].append(time.perf_counter() - start)
    return {part: statistics.median(seconds) for part, seconds in found.items()}


def _step(model: FunnelModule, optimizer: torch.optim.Optimizer, batches: Iterator) -> Iterator[None]:  # type: ignore[type-arg]
    """One training step that stops after each part. The towers see a copy of their input that takes its gradient."""
    batch = next(batches)
    yield
    found = model.inputs.look_up(batch)
    yield
    x = model.inputs.assemble(batch, found)
    yield
    copy = x.detach().requires_grad_()
    output = model.compose(copy.to(model.dtype_of_products))
    loss = model.total(model.losses(output, Labels(*batch.labels.unbind(1))))
    yield
    optimizer.zero_grad()
    loss.backward()
    yield
    x.backward(copy.grad)
    yield
    optimizer.step()
    yield


def measure(name: str, city: EncodedCity, config: Config, steps: int, rounds: int, peak: float) -> dict[str, float]:
    """Milliseconds of each row of the table."""
    model: FunnelModule = MODELS.get(name)(config, InputShape.of(city, config))
    rows = range(city.rows("train").start, city.rows("train").start + steps * config.batch_size)
    train(model, city, config, range(rows.start, rows.start + 3 * config.batch_size))
    plain, trained = [], []
    for _ in range(rounds):
        plain.append(parts(model, city, config, steps))
        trained.append(train(model, city, config, rows) / steps)
    found = {part: statistics.median(each[part] for each in plain) for part in PARTS}
    whole = statistics.median(trained)
    found |= {TRAINER: whole - sum(found.values()), WHOLE: whole}
    found[LEAST] = operations(model, next(iter(FunnelDataModule(city, config).train_dataloader()))) / peak
    return {row: seconds * 1e3 for row, seconds in found.items()}


def show(setting: str, found: dict[str, dict[str, float]], console: Console) -> None:
    table = Table("ms, of a step", title=setting)
    for title in found:
        table.add_column(title, justify="right")
    for row in (*PARTS, TRAINER, WHOLE, LEAST):
        cells = [f"{each[row]:.2f} {each[row] / each[WHOLE]:5.0%}" for each in found.values()]
        table.add_row(row, *cells, end_section=row in (TRAINER, WHOLE))
    console.print(table)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="shared_bottom,mmoe,esmm,esmc,ple", help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=60, help="of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument("--scale", type=float, default=0.001, help="of City 1 (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options, console = parse(arguments), Console(width=120)
    quiet()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "table").mkdir()
        write_table(folder / "table", options.steps * TABLE_CONFIG.batch_size)
        settings = {
            "setting of throughput.py": (EncodedCity.load(folder / "table"), TABLE_CONFIG),
            "defaults, City 1": (make_city(folder / "city", options.scale, options.threads), Config()),
        }
        for setting, (city, config) in settings.items():
            found = {}
            for model in options.models.split(","):
                built: type[FunnelModule] = MODELS.get(model)
                precision = built(config, InputShape.of(city, config)).dtype_of_products
                peak = max(product_peak(size, 5, precision) for size in SIZES)
                found[built.title] = measure(model, city, config, options.steps, options.rounds, peak)
            show(f"{setting}, products in {str(precision).removeprefix('torch.')}", found, console)
    console.print(f"{options.threads} threads, batch {TABLE_CONFIG.batch_size}; {options.rounds} rounds in turn.")
    console.print(line("torch"))


if __name__ == "__main__":
    main()
