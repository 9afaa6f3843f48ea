"""Training and evaluation speed of MMoE and Shared-Bottom, ours and that of public libraries, on one table.

Each contestant runs in a process of its own, if need be in a Python environment of its own, with the same rows,
widths, batch size and threads, and with the training loop of its library. Peers take part twice: as their own examples
set them up (documented), and with Adagrad, as ours, and without regularisation (lean). Ours takes part with products in
the precision of the defaults (auto), and in float32 where that is another one. Rounds are interleaved: in each,
every contestant trains on the same consecutive rows, then the next round takes the next rows.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from machine import processor
from process import Gone, Process
from rich.console import Console
from rich.table import Table
from summary import (
    MODELS,
    OURS,
    OURS_SETUPS,
    SETUPS,
    WANTED_SECONDS,
    dense_flops,
    evaluation_floor,
    fastest_peer,
    products,
    ratio,
    speed,
    wanted_ratio,
)
from table import SIZES, VISIT_ROWS, write_table

from bench.data.datamodule import EVALUATION_ROWS

PEERS: dict[str, str] = {
    "rechub": "torch-rechub",
    "deepctr": "DeepCTR-Torch",
    "fuxi": "FuxiCTR",
    "mtreclib": "MTReclib-style",
}
MATMUL_SIZE = 2048
EXAMPLES = """examples:
  ours alone:
    python benchmarks/throughput.py
  with peers, which live in an environment outside the project:
    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install torch==2.13.0 torch-rechub deepctr-torch fuxictr
    python benchmarks/throughput.py --peer-python /tmp/peers/bin/python --json benchmarks/results/throughput.json
  5 million users, where peers update their whole tables in every step (20 GB of memory):
    python benchmarks/throughput.py --users 5000000 --setup documented --steps 20 --rounds 3 --evaluations 0 \\
        --peer-python /tmp/peers/bin/python --json benchmarks/results/throughput_5m.json
  the page BENCHMARKS.md from the stored results:
    python benchmarks/page.py
"""


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run all contestants; the result as it is stored."""
    settings = {
        "sizes": [arguments.users, *SIZES[1:]],
        "embedding": 16,
        "hidden": [256, 128, 64],
        "experts": 4,
        "batch": 1024,
        "evaluation_batch": EVALUATION_ROWS,
        "learning_rate": 0.005,
    }
    count = arguments.steps * settings["batch"]
    with tempfile.TemporaryDirectory(prefix="throughput-") as name:
        folder = Path(name)
        write_table(folder, arguments.rows, settings["sizes"])
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        machine = describe_machine(arguments.threads)
        if machine["load_before"][0] > 0.5:
            load = machine["load_before"][0]
            console.print(f"[yellow]the load average is {load:.1f} already: wait for a quiet machine[/yellow]")
        processes, absent = start(arguments, folder)
        measured = {
            name: {
                "setup": process.setup,
                "versions": process.versions,
                "train": {m: [] for m in MODELS},
                "evaluate": {m: [] for m in MODELS},
            }
            for name, process in processes.items()
        }
        ours = processes[OURS]
        for name in processes.keys() & OURS_SETUPS.keys():
            measured[name]["products"] = processes[name].ask("products")
        result = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine,
            "settings": settings
            | {name: getattr(arguments, name) for name in ("rows", "steps", "rounds", "warmup", "threads")}
            | {"visit_rows": VISIT_ROWS},
            "dense_flops_per_row": {model: ours.ask("dense_flops", model=model) for model in MODELS},
            "contestants": measured,
            "absent": absent,
        }
        try:
            peaks = [ours.ask("matmul_peak", size=MATMUL_SIZE, repeats=10)]
            for job, model, span in schedule(arguments, count):
                # Optimisers play no part in evaluation: one setup of each peer is enough.
                names = [n for n, p in processes.items() if p.setup != SETUPS[1] or not job.startswith("evaluate")]
                for contestant in names:
                    console.print(f"[dim]{job} {MODELS[model]} {contestant}[/dim]")
                    try:
                        seconds = processes[contestant].ask(job.split()[0], model=model, **span)
                    except Gone as gone:
                        if contestant in OURS_SETUPS:
                            raise
                        absent[contestant] = str(gone)
                        del processes[contestant], measured[contestant]
                        continue
                    if job != "train warm-up":
                        measured[contestant][job.split()[0]][model].append(seconds)
            peaks.append(ours.ask("matmul_peak", size=MATMUL_SIZE, repeats=10))
        finally:
            for process in processes.values():
                process.close()
        result["matmul_peak_flops"] = max(peaks)
        machine["load_after"] = os.getloadavg()
    return result


def schedule(arguments: argparse.Namespace, count: int) -> Iterator[tuple[str, str, dict[str, int]]]:
    """(job, model, rows): warm-up, interleaved rounds of training, then evaluation."""
    parts = arguments.rows // count
    for model in MODELS:
        yield "train warm-up", model, {"first": 0, "stop": arguments.warmup * count // arguments.steps}
    for turn in range(arguments.rounds):
        first = turn % parts * count
        for model in MODELS:
            yield f"train round {turn + 1}", model, {"first": first, "stop": first + count}
    for turn in range(arguments.evaluations):
        for model in MODELS:
            yield f"evaluate round {turn + 1}", model, {}


def start(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Process], dict[str, str]]:
    """Running contestants by name, and why others are absent. Every peer takes the first environment it starts in."""
    processes: dict[str, Process] = {}
    for name, setup in OURS_SETUPS.items():
        if not processes or processes[OURS].ask("products") != "float32":
            processes[name] = Process("ours", setup, sys.executable, folder, arguments.threads)
    absent: dict[str, str] = {}
    for setup, (script, title) in itertools.product(arguments.setup or SETUPS, PEERS.items()):
        name = title if setup == SETUPS[0] else f"{title}, {setup}"
        for python in arguments.peer_python:
            try:
                processes[name] = Process(script, setup, python, folder, arguments.threads)
                absent.pop(name, None)
                break
            except Gone as gone:
                absent[name] = str(gone)
    return processes, absent


def describe_machine(threads: int) -> dict[str, Any]:
    """Processor, memory and load. Restricts this process, and those it starts, to as many cores as threads."""
    cores = os.cpu_count()
    if hasattr(os, "sched_setaffinity"):
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, usable[:threads])
    memory = None
    with contextlib.suppress(OSError, ValueError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor(),
        "cores": cores,
        "memory_gib": memory and round(memory, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_before": os.getloadavg(),
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the measurement as a table."""
    settings = result["settings"]
    title = f"{settings['rows']:,} rows, batch {settings['batch']}, {settings['threads']} threads"
    table = Table(title=title, caption="training: median of rounds (slowest-fastest)")
    table.add_column("contestant", no_wrap=True)
    for model in MODELS.values():
        table.add_column(f"{model}\nsamples/s", justify="right", no_wrap=True)
        table.add_column("evaluate\ns", justify="right", no_wrap=True)
    for name in result["contestants"]:
        cells = []
        for model in MODELS:
            found = speed(result, name, model)
            cells.append(f"{found.rate:,.0f} ({found.low / 1e3:.0f}-{found.high / 1e3:.0f} k)")
            cells.append("-" if found.evaluation is None else f"{found.evaluation:.1f}")
        table.add_row(name, *cells)
    console.print(table)
    for name, reason in result["absent"].items():
        console.print(f"{name} was not measured: {reason}", markup=False)
    peak = result["matmul_peak_flops"]
    console.print(f"peak of matrix products in {products(result)}: {peak / 1e9:.0f} GFLOP/s")
    for model, title in MODELS.items():
        dense = dense_flops(result, model)
        console.print(f"{title}: {dense / 1e9:.0f} GFLOP/s in matrix products, {dense / peak:.0%} of the peak")
        for setup in SETUPS:
            times = ratio(result, model, setup)
            if times is not None:
                aim = f" (aim: {wanted_ratio(result, model):g} x)" if setup == SETUPS[0] else ""
                console.print(f"{title}: {times:.2f} x {fastest_peer(result, model, setup)}, the fastest{aim}")
        floor = evaluation_floor(result, model)
        console.print(f"{title}: the matrix products of evaluation take {floor:.1f} s at the peak")
    console.print(f"aim for evaluating 1,000,000 rows: {WANTED_SECONDS:g} s")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peer-python", action="append", default=[], metavar="PATH", help="Python that has peers; may be repeated"
    )
    parser.add_argument(
        "--setup", action="append", choices=SETUPS, help="how peers are set up; may be repeated (default: both)"
    )
    parser.add_argument("--users", type=int, default=SIZES[0], help="ids of the first field (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=50, help="training steps per round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of training (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=10, help="training steps before (default: %(default)s)")
    parser.add_argument("--evaluations", type=int, default=1, help="rounds of evaluation (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads and cores of each (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the measurement")
    parsed = parser.parse_args(arguments)
    least = {
        "steps": 1,
        "rounds": 1,
        "warmup": 1,
        "evaluations": 0,
        "threads": 1,
        "users": 1,
        "rows": 1024 * max(parsed.steps, parsed.warmup),
    }
    for name, value in least.items():
        if getattr(parsed, name) < value:
            parser.error(f"--{name} must be at least {value}, but is {getattr(parsed, name)}")
    return parsed


def main() -> None:
    arguments, console = parse(), Console(width=120)
    try:
        result = measure(arguments, console)
    except Gone as gone:
        sys.exit(f"our own contestant failed: {gone}")
    show(result, console)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
