"""Training on one GPU: ``python benchmarks/gpu.py [--json FILE] [--peer-python PATH] [OPTIONS]``.

Parts, in this order, each left out with a word where the time that is left no longer allows it:

- peaks: products of matrices, copies on the card;
- models: samples/s of every neural model at batch 1024 and 8192 on rows of City 1's shape with histories, that lie on
  the card; by the trainer, as a cell is trained, and as a recorded CUDA graph;
- cells: several seeds at once against one, at batch 1024;
- update: the update of touched rows, ours and FBGEMM's exact Adagrad where that is installed;
- profile: where the time of a step goes;
- projection: the paper's City 1 at its full size (1,004 M exposures; the authors used 1,600 CPUs) from a run over as
  many rows as are asked for;
- peers: MMoE and Shared-Bottom, ours and the libraries of ``throughput.py``, on the same card.

It runs from the repository without installation. It needs the packages of the project but lightgbm, optuna, wandb,
typer and scikit-posthocs. Without a GPU it says so and ends.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch
from card import CITY_SIZES, asks, built, city_of, makers_of, run
from card_parts import copy_rate, graph_error, product_rate, profiled, trained, updates
from card_peers import against_peers
from graph import Step
from machine import line
from rich.console import Console
from rich.table import Table

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.modeling.fitted import FittedModule
from bench.training.train import quiet

BATCHES = (1024, 8192)
#: The aim: cells at once against one after another.
WANTED_CELLS = 3.0
#: Exposures of City 1 (ESMC Table III).
PAPER_ROWS = 1_004_000_000
#: What peers need.
PEERS_SECONDS = 110
PARTS = ("peaks", "models", "cells", "update", "profile", "projection", "peers")


class Session:
    """What the parts share: the device, the options, a deadline, the city and the makers of its batches."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self.options, self.console = options, console
        self.device = torch.device(options.device)
        self.config = Config(batch_size=BATCHES[0])
        self.deadline = time.monotonic() + options.seconds
        self.sizes = [max(2, round(size * min(1.0, options.city_rows / 1e8))) for size in CITY_SIZES[:3]]
        self.sizes += CITY_SIZES[3:]
        history = max(self.config.din_length, self.config.eta_length)
        self.city = city_of(options.city_rows, self.sizes, history)
        self.makers = makers_of(self.city, self.config, self.device, options.batch)
        #: Why no graph can be recorded; None where one can.
        self.no_graph: str | None = "no CUDA"
        if self.device.type == "cuda":
            model_class, (maker, rows) = MODELS.get(options.projected), self.makers[options.batch[0]]
            self.no_graph = asks(model_class, self.config) or graph_error(
                model_class, self.city, self.config, maker, rows
            )
        self.ways = ("loop",) if self.no_graph else ("loop", "graph")

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()

    def rate(self, model_class: Any, size: int, record: bool, cells: int = 1) -> float | str:
        """Samples/s of the plain loop or the recorded graph, of all cells together; or why there is none."""
        maker, rows = self.makers[size]
        if record and (reason := asks(model_class, self.config, cells)):
            return reason
        module, optimizer = built(model_class, self.city, self.config, self.device, cells)
        step = Step(module, optimizer, maker, size, rows.blocks, record)
        try:
            step.warm_up(rows.batches[0])
        except RuntimeError as error:
            return str(error).strip().splitlines()[0]
        done, seconds = run(step, rows, self.options.slice, least=2)
        return cells * done * size / seconds


def peaks(session: Session) -> Iterator[dict[str, Any]]:
    size = 8192 if session.device.type == "cuda" else 256
    for dtype in (torch.float32, torch.bfloat16):
        rate = product_rate(size, dtype, session.device)
        yield {"peak": f"product of {size} x {size}, {str(dtype).removeprefix('torch.')}", "TFLOP/s": rate / 1e12}
    yield {"peak": "copy on the device", "TB/s": copy_rate(size, session.device) / 1e12}


def models(session: Session) -> Iterator[dict[str, Any]]:
    for name, model_class in chosen(session).items():
        for size in session.options.batch:
            config = session.config.model_copy(update={"batch_size": size})
            model, _ = built(model_class, session.city, config, session.device)
            row = {"model": name, "batch": size}
            row["trainer"] = trained(model, session.city, config, session.device, session.options.slice)
            del model
            yield row | {way: session.rate(model_class, size, way == "graph") for way in session.ways}


def cells(session: Session) -> Iterator[dict[str, Any]]:
    size, count = session.options.batch[0], session.options.cells
    for name in session.options.focus:
        for way in session.ways:
            rates = [session.rate(MODELS.get(name), size, way == "graph", each) for each in (1, count)]
            row = {"model": name, "batch": size, "way": way, "one": rates[0], f"{count} at once": rates[1]}
            if not any(isinstance(rate, str) for rate in rates):
                row["ratio"] = rates[1] / rates[0]
                row[f"of {WANTED_CELLS:g} x"] = rates[1] / rates[0] / WANTED_CELLS
            yield row


def update(session: Session) -> Iterator[dict[str, Any]]:
    for size in session.options.batch:
        maker, rows = session.makers[size]
        batch = maker.gather(rows.batches[0], rows.blocks)
        ids = torch.cat([batch.ids.view(-1), batch.histories[0].events.view(-1)])
        yield {"batch": size, "ids": len(ids)} | updates(ids, session.city.meta.vocabulary, session.options.slice / 4)


def profile(session: Session) -> Iterator[dict[str, Any]]:
    for name in session.options.focus:
        for size in session.options.batch:
            maker, rows = session.makers[size]
            module, optimizer = built(MODELS.get(name), session.city, session.config, session.device)
            step = Step(module, optimizer, maker, size, rows.blocks, record=False)
            step.warm_up(rows.batches[0])
            yield {"model": name, "batch": size} | profiled(step, rows)


def projection(session: Session) -> Iterator[dict[str, Any]]:
    options, config = session.options, session.config
    session.makers = {}  # its memory is free
    start = time.perf_counter()
    sizes = CITY_SIZES if session.device.type == "cuda" else session.sizes
    city = city_of(options.rows, sizes, max(config.din_length, config.eta_length))
    makers = makers_of(city, config, session.device, options.batch)
    made = time.perf_counter() - start
    for place, (size, (maker, rows)) in enumerate(makers.items()):
        module, optimizer = built(MODELS.get(options.projected), city, config, session.device)
        step = Step(module, optimizer, maker, size, rows.blocks, record=session.no_graph is None)
        step.warm_up(rows.batches[0])
        share = max(5.0, session.left - (PEERS_SECONDS if "peers" in options.parts else 5)) / (len(makers) - place)
        most = -(-options.rows // size)
        done, seconds = run(step, rows, share, most=most)
        rate = done * size / seconds
        yield {
            "model": options.projected, "batch": size, "way": session.ways[-1], "rows": done * size,
            "seconds": seconds, "made in": made, "samples/s": rate, "City 1, hours": PAPER_ROWS / rate / 3600,
            "mean loss": step.losses.item() / max(done, 1),
        } | memory(session.device)  # fmt: skip


def peers(session: Session) -> Iterator[dict[str, Any]]:
    for size in session.options.batch:
        yield from against_peers(
            session.options.peer_python, size, session.device, session.options.slice, session.no_graph is None
        )


def memory(device: torch.device) -> dict[str, float]:
    return {"GiB": torch.cuda.max_memory_allocated(device) / 2**30} if device.type == "cuda" else {}


def chosen(session: Session) -> dict[str, Any]:
    every = {name: each for name, each in MODELS.all().items() if not issubclass(each, FittedModule)}
    return {name: every[name] for name in session.options.models or every}


def show(name: str, rows: list[dict[str, Any]], console: Console) -> None:
    """Print a part as a table; numbers with three digits or in full."""
    table = Table(title=name)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for column in columns:
        table.add_column(column, justify="left" if column in ("model", "peak", "way", "contestant") else "right")
    for row in rows:
        table.add_row(*(_text(row.get(column, "")) for column in columns))
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def machine_line(device: torch.device) -> str:
    if device.type != "cuda":
        return line("torch")
    card = torch.cuda.get_device_properties(device)
    return f"{card.name}, {card.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, {line('torch')}"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=names, default=[*PARTS], help=f"some of {','.join(PARTS)} (default: all)")
    parser.add_argument(
        "--models", type=names, default=[], help="names, separated by commas (default: all neural ones)"
    )
    parser.add_argument(
        "--focus", type=names, default=["mmoe", "esmc"], help="of cells and profile (default: mmoe,esmc)"
    )
    parser.add_argument("--projected", default="esmc", help="model of the projection (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=50_000_000, help="of the projection (default: %(default)s)")
    parser.add_argument("--city-rows", type=int, default=2_000_000, help="of the other parts (default: %(default)s)")
    parser.add_argument("--cells", type=int, default=5, help="trained at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=470, help="for everything (default: %(default)s)")
    parser.add_argument("--slice", type=float, default=0.8, help="seconds of one measurement (default: %(default)s)")
    parser.add_argument("--peer-python", action="append", default=[], metavar="PATH", help="Python that has peers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the measurement, after every part")
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, action="append", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.batch = options.batch or [*BATCHES]
    if wrong := set(options.parts) - set(PARTS):
        parser.error(f"--parts must be some of {','.join(PARTS)}, but has {','.join(sorted(wrong))}")
    return options


def main(arguments: list[str] | None = None) -> None:
    options, console = parse(arguments), Console(width=150)
    if options.device == "cuda" and not torch.cuda.is_available():
        console.print("There is no GPU: nothing was measured.")
        return
    quiet()
    session = Session(options, console)
    result: dict[str, Any] = {"machine": machine_line(session.device), "options": _plain(vars(options)), "parts": {}}
    result["graph"] = session.no_graph or f"{options.projected} learns what the plain loop learns"
    console.print(result["machine"])
    console.print(f"recorded graph: {result['graph']}")
    every: dict[str, Callable[[Session], Iterator[dict[str, Any]]]] = {
        "peaks": peaks, "models": models, "cells": cells, "update": update, "profile": profile,
        "projection": projection, "peers": peers,
    }  # fmt: skip
    for part in options.parts:
        rows = result["parts"][part] = []
        found = every[part](session)
        while session.left > 5 and (row := next(found, None)) is not None:
            rows.append(row)
        if session.left <= 5:
            console.print(f"{part}: the time is over; what is missing was not measured.")
        show(part, rows, console)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(machine_line(session.device))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


if __name__ == "__main__":
    main()
