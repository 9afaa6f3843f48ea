"""Run a plan: prepare the cities, skip what is stored, train the rest, keep failures."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench.core.cell import Cell
from bench.core.errors import UserError
from bench.core.publish import ensure_folder, sweep_staging
from bench.core.record import RECORD
from bench.core.registry import MODELS
from bench.data.encoded import EncodedCity, Meta
from bench.data.source import Source
from bench.results.store import Store
from bench.runner import ranks, worker
from bench.runner.events import Progress
from bench.runner.layout import Layout
from bench.runner.pool import Pool
from bench.runner.prepare import encoded_folder, is_prepared, missing_shards
from bench.runner.team import Team
from bench.runner.together import GAIN, MOST, WORTH_MEASURING, Group, groups_of
from bench.training.tracking import Mode


@dataclass
class Outcome:
    """What a run did."""

    done: list[Cell] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons by title of the cell."""


def open_output(out: Path) -> None:
    """Create the output folder and clear what dead processes left in it.

    Raises:
        UserError: it cannot be written to.
    """
    ensure_folder(out)
    sweep_staging(out)


class Prepared(NamedTuple):
    """Folders of encoded arrays, and the errors of cities that could not be prepared, both by fingerprint."""

    folders: dict[str, Path]
    errors: dict[str, UserError]


def prepare(
    out: Path,
    wanted: Sequence[tuple[Source, str]],
    pool: Pool,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Prepared:
    """Encoded arrays of (dataset, city) pairs, made in parallel where they are missing, large cities by shards of
    their users.

    Args:
        tell: called with the number of tasks that are done, and of all.

    Raises:
        Exception: whatever a worker raised that is not the user's to mend.
    """
    layout, found = Layout(out), Prepared({}, {})
    cities = {source.fingerprint(city): (source, city) for source, city in wanted}
    cores = os.cpu_count() or 1
    missing = [key for key, (source, city) in cities.items() if not is_prepared(layout, source, city)]
    shards = [(key, shard) for key in missing for shard in missing_shards(layout, *cities[key])]
    total = len(shards) + len(missing)
    tell(0, total)

    def arguments(key: str) -> tuple[Any, ...]:
        source, city = cities[key]
        return out, source.name, source.options, city

    def failed(key: str, error: BaseException | None, killed: bool) -> None:
        if killed:
            source, city = cities[key]
            what = f"{source.label} city {city}"
            error = UserError(f"the process that prepared {what} was killed; is there enough memory?")
        if isinstance(error, UserError):
            found.errors[key] = error
        elif error is not None:
            raise error

    made = pool.run(worker.prepare_shard, shards, lambda task: (*arguments(task[0]), task[1]))
    for done, ((key, _), _, error, killed) in enumerate(made, start=1):
        failed(key, error, killed)
        tell(done, total)
    missing = [key for key in missing if key not in found.errors]
    threads = max(1, cores // max(1, len(missing)))
    encoded = pool.run(worker.prepare_city, missing, lambda key: (*arguments(key), threads))
    for done, (key, _, error, killed) in enumerate(encoded, start=len(shards) + 1):
        failed(key, error, killed)
        tell(done, total)
    for key, (source, city) in cities.items():
        if key not in found.errors:
            try:
                found.folders[key] = encoded_folder(layout, source, city)
            except UserError as error:
                found.errors[key] = error
    return found


def metas_of(folders: Mapping[str, Path]) -> dict[str, Meta]:
    """What is known of each encoded city, by fingerprint."""
    return {fingerprint: EncodedCity.load(folder).meta for fingerprint, folder in folders.items()}


def unfinished(store: Store, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that are not stored yet.

    Raises:
        UserError: the record of one is damaged: nothing but a user's hand or a broken disk does that.
    """
    for cell in cells:
        if (store.cells / cell.key / RECORD).exists():
            store.record(cell.key)
    return [cell for cell in cells if not store.has(cell.key)]


def forget_older(store: Store, cells: Sequence[Cell]) -> None:
    """Forget the failures of older versions of the model files that ``cells`` are of: nothing tries them again."""
    codes = {cell.model: cell.code for cell in cells if cell.code}
    for failure in store.failures() if codes else ():
        if codes.get(failure.cell.model, failure.cell.code) != failure.cell.code:
            store.clear_failure(failure.key)


def run_cells(
    out: Path,
    cells: Sequence[Cell],
    folders: Mapping[str, Path],
    pool: Pool,
    wandb_mode: Mode = "auto",
    wandb_group: str | None = None,
    at_once: int = 1,
    team: Team | None = None,
) -> Outcome:
    """Train cells, of which none is stored. A cell that fails does not stop the others.

    Args:
        folders: encoded arrays by fingerprint.
        wandb_group: W&B group of all cells; by default each has that of its city.
        at_once: cells that may be trained at once in one process; see :func:`groups_of`.
        team: the processes that train each cell together; by default one does.
    """
    outcome = Outcome()
    train = worker.run_cells if team is None else partial(ranks.run_cells, team)

    def task(group: Group) -> tuple[Any, ...]:
        return out, group, folders[group[0].fingerprint], wandb_mode, wandb_group, _file_of(group[0])

    waiting = groups_of(cells, at_once, pool.jobs)
    while waiting:
        again: list[Group] = []
        for group, reasons, error, killed in pool.run(train, waiting, task):
            if killed and len(group) > 1:  # each by itself, to tell the one that kills from the others
                again += [(cell,) for cell in group]
                continue
            if killed or error is not None:
                reason = "its worker process was killed (out of memory?)" if killed else repr(error)
                for cell in group:
                    worker.fail(Store(out), cell, reason, reason)
                reasons = [reason] * len(group)
            for cell, reason in zip(group, reasons, strict=True):
                if reason is None:
                    outcome.done.append(cell)
                    pool.listen(Progress(cell.key, "done"))
                else:
                    outcome.failed[cell.title] = reason
                    pool.listen(Progress(cell.key, "failed", message=reason))
        waiting = again
    return outcome


def best_at_once(cells: Sequence[Cell], folders: Mapping[str, Path], rows: int, pool: Pool) -> int:
    """How many cells to train at once: :data:`MOST`, or 1 where a measurement says that one by one is faster.

    It is measured by as many processes at the same time as will train, since they share the machine's memory.

    Args:
        rows: training rows of all cells; it is not measured for few.
    """
    groups = groups_of(cells, MOST, 1)
    largest = max(groups, key=len, default=())
    if len(largest) < 2 or rows < WORTH_MEASURING:
        return 1
    task = (largest, folders[largest[0].fingerprint], _file_of(largest[0]))
    measured = pool.run(worker.gain_of, range(min(pool.jobs, len(groups))), lambda _: task)
    return MOST if statistics.median([found.result or 0.0 for found in measured]) > GAIN else 1


def _file_of(cell: Cell) -> Path | None:
    outside = MODELS.outside(cell.model)
    return outside and outside.path
