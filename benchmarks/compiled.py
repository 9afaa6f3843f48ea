"""Whether torch.compile pays for itself: ``python benchmarks/compiled.py [--models NAMES] [OPTIONS]``.

Steps of City 1 at the defaults, as they are and with input, towers and losses compiled into one graph with shapes that
may vary. Beside the seconds of a step: what compiling takes in a fresh process, with an empty cache and with one that
an earlier process filled, and after how many training rows that is won back.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from city import make_city
from machine import line
from rich.console import Console
from rich.table import Table

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.batches import Batch, Labels
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule

#: Steps before those that are timed: the first ones compile.
WARM = 6


def steps(name: str, folder: Path, count: int, compiled: bool) -> tuple[float, float]:
    """Seconds of the first steps, in which all compiling happens, and the median of those after them."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    city, config = EncodedCity.load(folder), Config()
    model: FunnelModule = MODELS.get(name)(config, InputShape.of(city, config))
    optimizer = model.optimizer()

    def loss(batch: Batch, found: tuple[torch.Tensor, ...]) -> Any:
        return model.total(model.losses(model.output(batch, found), Labels(*batch.labels.unbind(1))))

    call = torch.compile(loss, dynamic=True) if compiled else loss
    taken = []
    for batch, _ in zip(FunnelDataModule(city, config).train_dataloader(), range(WARM + count), strict=False):
        start = time.perf_counter()
        found = model.inputs.look_up(batch)
        optimizer.zero_grad()
        call(batch, found).backward()
        optimizer.step()
        taken.append(time.perf_counter() - start)
    return sum(taken[:WARM]), statistics.median(taken[WARM:])


def measure(name: str, folder: Path, cache: Path, options: argparse.Namespace, compiled: bool) -> tuple[float, float]:
    """:func:`steps` in a fresh process."""
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "TORCHINDUCTOR_CACHE_DIR": str(cache)}
    command = [sys.executable, __file__, "--child", name, str(folder), str(options.steps), str(int(compiled))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    first, median = done.stdout.split()[-2:]
    return float(first), float(median)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="shared_bottom,esmc,mmoe,ple", help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=150, help="timed steps (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=0.001, help="of City 1 (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="as of a worker (default: %(default)s)")
    return parser.parse_args(arguments)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        name, folder, count, compiled = sys.argv[2:]
        print(*steps(name, Path(folder), int(count), compiled == "1"))
        return
    options, console = parse(), Console(width=120)
    table = Table("model", title=f"torch.compile, {options.threads} thread")
    for column in ("step, ms", "compiled, ms", "gain", "compiling, s", "from the cache, s", "won back after rows"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_city(folder / "city", options.scale, options.threads)
        for model in options.models.split(","):
            cache = folder / f"cache-{model}"
            plain, eager = measure(model, folder / "city", cache, options, compiled=False)
            cold, first = measure(model, folder / "city", cache, options, compiled=True)
            warm, second = measure(model, folder / "city", cache, options, compiled=True)
            compiled = statistics.mean((first, second))
            saved = (eager - compiled) / Config().batch_size
            table.add_row(
                model,
                f"{eager * 1e3:.2f}",
                f"{compiled * 1e3:.2f}",
                f"{eager / compiled:.2f} ×",
                f"{cold - plain:.0f}",
                f"{warm - plain:.0f}",
                f"{(warm - plain) / saved / 1e6:,.1f} M" if saved > 0 else "never",
            )
    console.print(table)
    console.print(
        "A cell of City 1 at 1:1,000 has 0.75 M training rows; every process compiles, or loads, once per model."
    )
    console.print(line("torch"))


if __name__ == "__main__":
    main()
