"""Carry out ``bench run``: prepare, train, and tell the user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from bench.cli._display import RunDisplay
from bench.core.cell import Cell
from bench.core.errors import UserError
from bench.core.publish import sweep_staging
from bench.core.registry import MODELS
from bench.data.encoded import Meta
from bench.results.store import Store
from bench.runner import run as runner
from bench.runner.executor import open_pool
from bench.runner.layout import Layout
from bench.runner.plan import Request, plan
from bench.runner.planned import write_planned
from bench.runner.pool import Pool
from bench.runner.team import Team

FAILED, INTERRUPTED = 1, 130


def execute(
    requests: Sequence[Request],
    *,
    seeds: int,
    out: Path,
    jobs: int | None,
    executor: str,
    ray_address: str | None,
    at_once: int | None,
    team: Team | None,
    wandb: Any,
    wandb_group: str | None,
    dry_run: bool,
    report: str,
) -> int:
    """Run what was asked for; returns the exit code.

    Args:
        team: the processes that train each cell together, one cell at a time; None for one process.
        report: the command to name as the next step.

    Raises:
        UserError: what the user can mend.
    """
    console, store = Console(soft_wrap=True, highlight=False), Store(out)
    cells, left_out = plan(requests, seeds)
    todo = runner.unfinished(store, cells)  # refuse wrong input before anything is made
    for name, error in MODELS.broken.items():
        console.print(f"left out: model {name} cannot be imported: {error.strip().splitlines()[-1]}", markup=False)
    _require_cells(cells, left_out)
    if dry_run:
        for line in left_out:
            console.print(f"left out: {line}", markup=False)
        for cell in cells:
            console.print(f"{'to do ' if cell in todo else 'stored'}  {cell.key}  {cell.title}", markup=False)
        console.print(f"{len(cells)} cells, {len(cells) - len(todo)} of them stored")
        return 0
    runner.open_output(out)
    listeners: list[RunDisplay] = []
    jobs, at_once = (jobs, at_once) if team is None else (1, 1)
    pool = open_pool(executor, jobs, ray_address, lambda event: listeners[-1](event) if listeners else None, out)
    try:
        on = "" if executor == "local" else f" on {executor}"
        on += "" if team is None else f" of {team.processes} processes"
        console.print(f"{_summary(requests)}; seeds {seeds}; jobs {pool.jobs}{on}", markup=False)
        prepared = _prepare(console, out, requests, pool)
        metas = runner.metas_of(prepared.folders)
        ready, missing = _ready(requests, prepared)
        cells, left_out = plan(ready, seeds, metas)
        _require_cells(cells, left_out)
        for line in (*missing, *left_out):
            console.print(f"left out: {line}", markup=False)
        write_planned(Layout(out), cells)
        runner.forget_older(store, cells)
        todo = runner.unfinished(store, cells)
        if len(todo) < len(cells):
            console.print(f"{len(cells) - len(todo)} of {len(cells)} cells are stored already")
        rows = {cell.key: _train_rows(metas[cell.fingerprint]) * _passes(cell) for cell in todo}
        if at_once is None:
            with console.status("measuring how many cells to train at once"):
                at_once = runner.best_at_once(todo, prepared.folders, sum(rows.values()), pool)
        with RunDisplay(todo, rows, console) as display:
            listeners.append(display)
            outcome = runner.run_cells(out, todo, prepared.folders, pool, wandb, wandb_group, at_once, team)
    except KeyboardInterrupt:
        console.print("stopped; finished cells are kept: run the same command again to carry on.")
        return INTERRUPTED
    finally:
        pool.close()
        sweep_staging(out)
    failed = f", [red]{len(outcome.failed)} failed[/]" if outcome.failed else ""
    console.print(f"{len(outcome.done)} cells trained{failed}; next: {escape(report)}")
    return FAILED if outcome.failed or MODELS.broken else 0


def _require_cells(cells: Sequence[Cell], left_out: Sequence[str]) -> None:
    """Refuse a run of which nothing is left.

    Raises:
        UserError: every model is left out of every city.
    """
    if left_out and not cells:
        more = f" (and {len(left_out) - 1} more)" if len(left_out) > 1 else ""
        raise UserError(
            f"a run needs a model that fits the data, but none does: {left_out[0]}{more}; take other --models or "
            "--data, `bench ls` shows which fit."
        )


def _summary(requests: Sequence[Request]) -> str:
    """What a run is about, in one line."""
    asked = list(dict.fromkeys(request.source.label for request in requests if not request.beside))
    others = {request.source.label for request in requests} - set(asked)
    cities = dict.fromkeys(city for request in requests for city in request.cities)
    models = dict.fromkeys(name for request in requests for name in request.models)
    beside = f" and {len(others)} worlds beside {'it' if len(asked) == 1 else 'them'}" if others else ""
    return f"{', '.join(asked)}{beside}: cities {', '.join(cities)}; models {', '.join(models)}"


def _prepare(console: Console, out: Path, requests: Sequence[Request], pool: Pool) -> runner.Prepared:
    wanted = [(request.source, city) for request in requests for city in request.cities]
    columns = (SpinnerColumn(), TextColumn("preparing data"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=None)
        return runner.prepare(out, wanted, pool, lambda done, total: progress.update(bar, completed=done, total=total))


def _ready(requests: Sequence[Request], prepared: runner.Prepared) -> tuple[list[Request], list[str]]:
    """The requests with the cities that could be prepared, and a line for each of the others.

    Raises:
        UserError: of the world that was asked for, a city could not be prepared.
    """
    ready: list[Request] = []
    lines: dict[str, None] = {}
    for request in requests:
        cities = []
        for city in request.cities:
            error = prepared.errors.get(request.source.fingerprint(city))
            if error is None:
                cities.append(city)
            elif request.beside:
                lines[f"{request.source.label} city {city}: {error}"] = None
            else:
                raise error
        ready.append(request._replace(cities=cities))
    return ready, list(lines)


def _passes(cell: Cell) -> int:
    """How often the cell reads the training rows."""
    passes: int = MODELS.get(cell.model).passes(cell.config)
    return passes


def _train_rows(meta: Meta) -> int:
    start, stop = meta.splits["train"]
    return stop - start
