"""One cell trained by several processes: a worker process starts those of its node and waits for them.

It takes no part itself, so that it can end the others when one dies. Whoever fails first leaves the reason where the
processes have met; all nodes then tell the same.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterable, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from bench.core.cell import Cell
from bench.core.errors import CellError, UserError
from bench.core.registry import MODELS
from bench.data.encoded import EncodedCity
from bench.modeling.fitted import FittedModule
from bench.results.store import Store
from bench.runner import worker
from bench.runner.events import Progress
from bench.runner.model_files import add_model_file
from bench.runner.team import Team
from bench.training.distributed import PATIENCE, Place, join_group
from bench.training.tracking import Mode
from bench.training.train import train_group

#: Where a cell's outcome is left, and how long it is waited for at most: the first process writes it all.
_OUTCOME, _LONG = "outcome", timedelta(days=1)
#: Seconds that a failing process waits with its reason: where it is that another one died, that one's comes first.
_SECOND_GUESS = 1.0
#: Seconds that the process that told the outcome is given to end by itself: W&B has something to do then.
_FAREWELL = 10.0


class Outcome(NamedTuple):
    """How a cell ended: with a reason and its traceback, or well."""

    reason: str | None = None
    trace: str = ""


class Work(NamedTuple):
    """What all processes are told of a cell."""

    out: Path
    cell: Cell
    encoded: Path
    wandb_mode: Mode
    wandb_group: str | None
    model_file: Path | None


def run_cells(
    team: Team,
    out: Path,
    cells: Sequence[Cell],
    encoded: Path,
    wandb_mode: Mode,
    wandb_group: str | None = None,
    model_file: Path | None = None,
) -> list[str | None]:
    """As :func:`bench.runner.worker.run_cells`, each cell by the processes of a team, one after another."""
    return [_run(team, Work(out, cell, encoded, wandb_mode, wandb_group, model_file)) for cell in cells]


def _run(team: Team, work: Work) -> str | None:
    store, key = Store(work.out), work.cell.key
    if store.has(key):
        return None
    worker.tell(Progress(key, "start"))
    point = _meeting_point(team)
    outcome = _watch(team, work, point)
    known = {failure.key: failure.reason for failure in store.failures()}
    if outcome.reason is not None and team.node == 0 and known.get(key) != outcome.reason:
        worker.fail(store, work.cell, outcome.reason, outcome.trace)
    return outcome.reason


_point: TCPStore | None = None


def _meeting_point(team: Team) -> TCPStore:
    """Where all processes meet. Of several nodes, the first keeps it open for all cells.

    Raises:
        CellError: node 0 cannot open it, or another node does not reach it.
    """
    global _point
    if _point is not None:
        return _point
    try:
        point = TCPStore(team.address, team.port, is_master=team.node == 0, wait_for_workers=False, timeout=PATIENCE)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CellError(f"the nodes cannot meet at {team.address}, port {team.port}: {reason}") from None
    if team.nodes > 1:
        _point = point
    return point


def _watch(team: Team, work: Work, point: TCPStore) -> Outcome:
    """Start the processes of this node, pass on their progress, and end all when one has told how it went, or died."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // team.devices)
    members: dict[Connection, SpawnProcess] = {}
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns where it found no unused parameters

    def stop(*_: Any) -> None:
        _end(members.values())
        os._exit(1)

    before = signal.signal(signal.SIGTERM, stop)  # the pool ends its workers so
    try:
        for local in range(team.devices):
            place = Place(local, team.devices, team.node, team.nodes)
            receiver, sender = context.Pipe(duplex=False)
            arguments = sender, place, work, team.address, point.port, threads, os.getpid()
            process = context.Process(target=_train, args=arguments, name=f"process {place.rank}", daemon=True)
            process.start()
            sender.close()
            members[receiver] = process
        while True:
            for spoken in wait(list(members)):
                assert isinstance(spoken, Connection)
                try:
                    said = spoken.recv()
                except EOFError:
                    died = _obituary(members[spoken], team)
                    return _settle(PrefixStore(work.cell.key, point), Outcome(died, died))
                if isinstance(said, Outcome):
                    members[spoken].join(_FAREWELL)
                    return said
                worker.tell(said)
    finally:
        _end(members.values())
        signal.signal(signal.SIGTERM, before)


def _end(processes: Iterable[SpawnProcess]) -> None:
    for process in processes:
        process.kill()
        process.join()


def _obituary(process: SpawnProcess, team: Team) -> str:
    """Why a process ended that left no word."""
    process.join()
    code = process.exitcode or 0
    how = (
        f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name} (out of memory?)"
    )
    return f"{process.name} of {team.processes} {how}"


def _settle(meeting: PrefixStore, outcome: Outcome) -> Outcome:
    """Leave an outcome, unless there is one; returns that which counts."""
    try:
        found = meeting.compare_set(_OUTCOME, "", json.dumps(outcome))
    except RuntimeError:  # node 0 is gone
        return outcome
    return Outcome(*json.loads(found))


# In a process of the team


class _Line:
    """What :func:`bench.runner.worker.start` takes as a queue: it leads to the process that watches."""

    def __init__(self, sender: Connection) -> None:
        self.put = sender.send


def _train(sender: Connection, place: Place, work: Work, address: str, port: int, threads: int, parent: int) -> None:
    """Train the cell with the others; the first process publishes it, and all tell how it ended."""
    worker.start(_Line(sender), threads, parent)  # type: ignore[arg-type]
    meeting = PrefixStore(work.cell.key, TCPStore(address, port, is_master=False, timeout=PATIENCE))
    outcome = _took_part(place, work, meeting)
    if outcome.reason is not None:
        time.sleep(_SECOND_GUESS)
    if outcome.reason is not None or place.rank == 0:
        outcome = _settle(meeting, outcome)
    else:
        meeting.wait([_OUTCOME], _LONG)
        outcome = Outcome(*json.loads(meeting.get(_OUTCOME)))
    sender.send(outcome)


def _took_part(place: Place, work: Work, meeting: PrefixStore) -> Outcome:
    try:
        if work.model_file is not None:
            add_model_file(work.model_file, work.cell.code)
        together = not issubclass(MODELS.get(work.cell.model), FittedModule)
        if together:
            join_group(place, PrefixStore("group", meeting))
        if place.rank == 0:
            reason = worker.run_cell(*work)
            return Outcome(reason, reason or "")
        if together:
            train_group([work.cell], EncodedCity.load(work.encoded))
    except Exception as error:
        reason = str(error) if isinstance(error, CellError | UserError) else f"{type(error).__name__}: {error}"
        return Outcome(" ".join(reason.split()), traceback.format_exc())
    return Outcome()
