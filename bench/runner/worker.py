"""What runs in a worker process: one cell, or one city's data."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import traceback
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
from bench.runner.prepare import encoded_folder, open_source
from bench.training.tracking import Mode
from bench.training.train import train_cell

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
        gc.collect()  # Lightning leaves cycles: the next cell begins without the memory of this one
    return None


def fail(store: Store, cell: Cell, reason: str, trace: str) -> None:
    """Store why a cell failed."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    store.fail(Failure(key=cell.key, cell=cell, reason=reason, traceback=trace, created=now))
