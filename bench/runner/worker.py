"""What runs in a worker process: one cell, or one city's data."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.errors import CellError, UserError
from bench.core.record import Failure
from bench.data.encoded import EncodedCity
from bench.data.source import SourceOptions
from bench.results.store import Store
from bench.runner.events import Progress
from bench.runner.layout import Layout
from bench.runner.model_files import add_model_file
from bench.runner.prepare import encoded_folder, make_shard, open_source
from bench.training.memory import give_back_memory
from bench.training.probe import gain_of_group
from bench.training.tracking import Mode, replay
from bench.training.train import train_cell, train_group

_queue: SimpleQueue[Any] | None = None


def start(queue: SimpleQueue[Any], threads: int, parent: int) -> None:
    """Make this process a worker of the process ``parent``: it leaves Ctrl-C to it, and ends when it is gone."""
    global _queue
    import torch

    _queue = queue
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, args=(parent,), daemon=True).start()


def _leave_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def tell(progress: Progress) -> None:
    if _queue is not None:
        _queue.put(progress)


def prepare_shard(out: Path, dataset: str, options: SourceOptions, city: str, shard: int) -> None:
    """A shard of a city's users; see :func:`~bench.runner.prepare.make_shard`."""
    make_shard(Layout(out), open_source(dataset, options), city, shard)


def prepare_city(out: Path, dataset: str, options: SourceOptions, city: str, threads: int) -> Path:
    """Encoded arrays of one city; see :func:`~bench.runner.prepare.encoded_folder`."""
    return encoded_folder(Layout(out), open_source(dataset, options), city, threads=threads)


def run_cell(
    out: Path,
    cell: Cell,
    encoded: Path,
    wandb_mode: Mode,
    wandb_group: str | None = None,
    model_file: Path | None = None,
) -> str | None:
    """Train one cell and publish it; a failure is stored with its traceback, and its reason given back.

    ``model_file``: where the model of a cell with a ``code`` is; a file that was edited since makes the cell fail.
    """
    store = Store(out)
    if store.has(cell.key):  # another run was faster, or this worker died before it could tell
        return None
    tell(Progress(cell.key, "start"))
    try:
        if model_file is not None:
            add_model_file(model_file, cell.code)
        city = EncodedCity.load(encoded)
        with store.publishing(cell.key) as folder:
            record = train_cell(
                cell,
                city,
                folder,
                report=lambda stage, rows, total: tell(Progress(cell.key, stage, rows, total)),
                wandb_folder=out,
                wandb_mode=wandb_mode,
                wandb_group=wandb_group,
            )
            store.seal(folder, record)
    except Exception as error:
        reason = str(error) if isinstance(error, CellError | UserError) else f"{type(error).__name__}: {error}"
        reason = " ".join(reason.split())
        fail(store, cell, reason, traceback.format_exc())
        return reason
    finally:
        give_back_memory()  # the next cell begins without that of this one
    return None


def run_cells(
    out: Path,
    cells: Sequence[Cell],
    encoded: Path,
    wandb_mode: Mode,
    wandb_group: str | None = None,
    model_file: Path | None = None,
) -> list[str | None]:
    """As :func:`run_cell` for each; several, which must be alike, are trained at once.

    Where that is not possible, such as with a model that torch.func cannot batch, they are trained one by one.
    """
    found: dict[str, str | None] = {}
    if len(cells) > 1:
        found = _run_together(out, cells, encoded, wandb_mode, wandb_group, model_file)
    rest = [cell for cell in cells if cell.key not in found]
    found |= {cell.key: run_cell(out, cell, encoded, wandb_mode, wandb_group, model_file) for cell in rest}
    return [found[cell.key] for cell in cells]


def _run_together(
    out: Path,
    cells: Sequence[Cell],
    encoded: Path,
    wandb_mode: Mode,
    wandb_group: str | None,
    model_file: Path | None,
) -> dict[str, str | None]:
    """Reasons of failures by key, None for success; nothing for cells that must be trained alone."""
    store = Store(out)
    found: dict[str, str | None] = {}
    todo = [cell for cell in cells if not store.has(cell.key)]

    def report(stage: str, rows: int, total: int) -> None:
        for cell in todo:
            tell(Progress(cell.key, stage, rows, total))

    try:
        if model_file is not None:
            add_model_file(model_file, todo[0].code)
        city = EncodedCity.load(encoded)
        report("start", 0, 0)
        for cell, trained in zip(todo, train_group(todo, city, report=report), strict=True):
            if isinstance(trained, CellError):
                fail(store, cell, str(trained), str(trained))
                found[cell.key] = str(trained)
                continue
            with store.publishing(cell.key) as folder:
                trained.write(folder, city)
                record = store.seal(folder, trained.record)
            replay(cell, record, out, wandb_mode, wandb_group)
            found[cell.key] = None
    except Exception:
        logging.getLogger(__name__).info("%d cells are trained one by one", len(todo) - len(found), exc_info=True)
    finally:
        give_back_memory()
    return found


def gain_of(cells: Sequence[Cell], encoded: Path, model_file: Path | None = None) -> float:
    """See :func:`~bench.training.probe.gain_of_group`; 0 where these cells cannot be trained at once."""
    try:
        if model_file is not None:
            add_model_file(model_file, cells[0].code)
        return gain_of_group(cells, EncodedCity.load(encoded))
    except Exception:
        return 0.0
    finally:
        give_back_memory()


def fail(store: Store, cell: Cell, reason: str, trace: str) -> None:
    """Store why a cell failed."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    store.fail(Failure(key=cell.key, cell=cell, reason=reason, traceback=trace, created=now))
