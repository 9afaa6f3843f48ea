"""How near the dense part comes to the peak of matrix products: ``python benchmarks/roofline.py [OPTIONS]``.

For every neural model, at the defaults (City 1, with histories) and at the setting of ``throughput.py``, in float32
and, where the processor multiplies it, in bfloat16: the operations per second of the dense part (towers and losses,
forward and backward on a fixed input) over the largest that a square matrix product reaches on as many threads, and
which share of a whole training step (batch, lookup, histories, optimiser, trainer) lies outside of it. Operations are
those of the matrix products, counted as they are called.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import torch
from city import make_city
from dense import operations, product_peak, seconds, traffic
from loop import train
from machine import line
from rich.console import Console
from rich.table import Table
from table import write_table

from bench.core.config import Config, Precision
from bench.core.registry import MODELS
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling.fitted import FittedModule
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from bench.nn.precision import has_bfloat16
from bench.training.train import quiet

#: The aims: shares of the peak.
WANTED: dict[Precision, float] = {"float32": 0.7, "bfloat16": 0.5}
#: Sizes of the products whose fastest is the peak.
SIZES = (512, 1024, 2048, 4096)
#: As in ``throughput.py``.
TABLE_CONFIG = Config(embedding_dim=16, hidden=(256, 128, 64), experts=4, din_length=0, eta_length=0)


class Measured(NamedTuple):
    """Of a model at a setting, per step: operations and bytes of the products, seconds of the dense part and of all."""

    setting: str
    model: str
    precision: Precision
    operations: int
    bytes: int
    dense: float
    step: float
    rows: int

    @property
    def rate(self) -> float:
        """Operations per second of the dense part."""
        return self.operations / self.dense


def measure(setting: str, name: str, city: EncodedCity, config: Config, steps: int) -> Measured:
    """One model: its dense part before and after so many steps of training."""
    model: FunnelModule = MODELS.get(name)(config, InputShape.of(city, config))
    batch = next(iter(FunnelDataModule(city, config).train_dataloader()))
    first, count = city.rows("train").start, config.batch_size
    train(model, city, config, range(first, first + 3 * count))
    found = seconds(model, batch, steps)
    whole = train(model, city, config, range(first, first + steps * count)) / steps
    found += seconds(model, batch, steps)
    return Measured(
        setting,
        str(MODELS.get(name).title),
        config.precision,
        operations(model, batch),
        traffic(model, batch),
        statistics.median(found),
        whole,
        len(batch.rows),
    )


def peaks(precisions: Iterable[Precision]) -> dict[Precision, float]:
    """Operations per second of the fastest product."""
    return {each: max(product_peak(size, 5, getattr(torch, each)) for size in SIZES) for each in precisions}


def bandwidth() -> float:
    """Bytes per second of a copy of 256 MB, read and written."""
    source, target, best = torch.zeros(1 << 26), torch.zeros(1 << 26), float("inf")
    for _ in range(5):
        start = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.numel() * source.element_size() / best


def show(found: list[Measured], peak: dict[Precision, float], console: Console) -> None:
    """Print the tables, one for each setting and precision."""
    for setting, precision in dict.fromkeys((each.setting, each.precision) for each in found):
        title = f"{setting}, {precision}: peak {peak[precision] / 1e9:,.0f} GFLOP/s"
        aim = f"of {WANTED[precision]:.0%}"
        columns = ("M operations/row", "dense, ms", "GFLOP/s", "of the peak", aim, "step, ms", "outside")
        table = Table("model", title=title)
        for column in columns:
            table.add_column(column, justify="right")
        for each in found:
            if (each.setting, each.precision) == (setting, precision):
                share = each.rate / peak[precision]
                table.add_row(
                    each.model,
                    f"{each.operations / each.rows / 1e6:.2f}",
                    f"{each.dense * 1e3:.2f}",
                    f"{each.rate / 1e9:,.0f}",
                    f"{share:.0%}",
                    f"{share / WANTED[precision]:.2f} ×",
                    f"{each.step * 1e3:.2f}",
                    f"{1 - each.dense / each.step:.0%}",
                )
        console.print(table)


def draw(found: list[Measured], peak: dict[Precision, float], path: Path) -> None:
    """The roofline: operations per second over operations per byte of the products' factors and results."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    speed, reach = bandwidth(), [1, 1000]
    for colour, (precision, top) in zip(("tab:blue", "tab:orange"), peak.items(), strict=False):
        corner = top / speed
        axes.plot([reach[0], corner, reach[1]], [speed * reach[0] / 1e9, top / 1e9, top / 1e9], color=colour)
        for marker, setting in zip("o^", dict.fromkeys(each.setting for each in found), strict=False):
            shown = [each for each in found if (each.setting, each.precision) == (setting, precision)]
            across = [each.operations / each.bytes for each in shown]
            rates, label = [each.rate / 1e9 for each in shown], f"{precision}, {setting}"
            axes.scatter(across, rates, 18, colour, marker=marker, label=label)
            for each in {min(shown, key=attrgetter("rate")), max(shown, key=attrgetter("rate"))}:
                place = each.operations / each.bytes, each.rate / 1e9
                axes.annotate(each.model, place, (4, -3), textcoords="offset points", fontsize=6)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s", title="Dense part of a step")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="", help="names, separated by commas (default: all that are neural)")
    parser.add_argument("--steps", type=int, default=60, help="timed steps of each (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=0.001, help="of City 1 (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw the roofline as well")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options, console = parse(arguments), Console(width=120)
    quiet()
    torch.set_num_threads(options.threads)
    neural = [name for name, each in MODELS.all().items() if not issubclass(each, FittedModule)]
    names = options.models.split(",") if options.models else neural
    precisions: list[Precision] = ["float32", "bfloat16"] if has_bfloat16() else ["float32"]
    peak, found = peaks(precisions), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "table").mkdir()
        write_table(folder / "table", max(options.steps, 3) * TABLE_CONFIG.batch_size)
        settings = {
            "defaults, City 1": (make_city(folder / "city", options.scale, options.threads), Config()),
            "throughput": (EncodedCity.load(folder / "table"), TABLE_CONFIG),
        }
        for setting, (city, config) in settings.items():
            for precision in precisions:
                chosen = config.model_copy(update={"precision": precision})
                found += [measure(setting, model, city, chosen, options.steps) for model in names]
    after = peaks(precisions)
    peak = {precision: max(speed, after[precision]) for precision, speed in peak.items()}
    show(found, peak, console)
    console.print(
        f"{options.threads} threads, batch {TABLE_CONFIG.batch_size}; medians of {2 * options.steps} dense parts."
    )
    console.print(line("torch"))
    if options.picture:
        draw(found, peak, options.picture)


if __name__ == "__main__":
    main()
