"""Weights & Biases: one cell = one run, offline unless a key is set."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import Logger, WandbLogger

from bench.core.cell import Cell
from bench.core.record import CurvePoint, Metric, Record

Mode = Literal["auto", "online", "offline", "off"]
PROJECT = "esm-bench"


def resolve(mode: Mode) -> Literal["online", "offline", "off"]:
    """``auto``: what WANDB_MODE says, else online when a key is set, else offline."""
    if mode != "auto":
        return mode
    wanted = os.environ.get("WANDB_MODE", "")
    if wanted in ("disabled", "dryrun", "offline", "online"):
        return {"disabled": "off", "dryrun": "offline"}.get(wanted, wanted)  # type: ignore[return-value]
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


class _Server:
    """Whether the W&B server failed to answer this process; the next cells then need not wait for it as well."""

    silent = False


@contextlib.contextmanager
def tracked(cell: Cell, folder: Path, mode: Mode, group: str | None = None) -> Iterator[WandbLogger | None]:
    """A logger for one cell: id = cell key, group = city, job type = model. The run is finished in any case.

    Args:
        cell: the cell.
        folder: where offline runs are kept (``folder/wandb``).
        mode: see :func:`resolve`; ``off`` gives None.
        group: W&B group; the dataset's city by default.
    """
    resolved = resolve(mode)
    if resolved == "off":
        yield None
        return
    if _Server.silent:
        resolved = "offline"
    folder.mkdir(parents=True, exist_ok=True)
    run = _start(cell, folder, resolved, group or f"{cell.dataset} city {cell.city}")
    exit_code = 1
    try:
        yield WandbLogger(experiment=run)
        exit_code = 0
    finally:
        run.finish(exit_code=exit_code)


def _start(cell: Cell, folder: Path, mode: Literal["online", "offline"], group: str) -> Any:
    """Begin a run; where the server cannot be reached, an offline one."""
    import wandb  # costs half a second: only where it is used

    for stale in (folder / "wandb").glob(f"offline-run-*-{cell.key}"):
        shutil.rmtree(stale, ignore_errors=True)  # what an interrupted or failed try of this cell left
    try:
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=cell.key,
            name=cell.title,
            group=group,
            job_type=cell.model,
            config=cell.model_dump(mode="json"),
            dir=str(folder),
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, init_timeout=20),
        )
    except wandb.Error as error:
        if mode == "offline":
            raise
        reason = str(error).partition("\n")[0]
        logging.getLogger(__name__).warning("W&B cannot be reached (%s): this process keeps its runs offline", reason)
        _Server.silent = True
        wandb.teardown()  # forget the run that did not start
        return _start(cell, folder, "offline", group)


def summarise(logger: WandbLogger | None, split: str, metrics: dict[str, Metric]) -> None:
    """Put metrics into the run's summary as ``split/name``."""
    if logger is not None:
        named = {f"{split}/{name}": metric.value for name, metric in metrics.items() if metric.value is not None}
        logger.experiment.summary.update(named)


def replay(cell: Cell, record: Record, folder: Path, mode: Mode, group: str | None = None) -> None:
    """The run of a finished cell, as :func:`tracked` would have written it."""
    with tracked(cell, folder, mode, group) as logger:
        if logger is not None:
            for point in record.curve:
                log_point(logger, point)
            for split, metrics in record.metrics.items():
                summarise(logger, split, metrics)


def log_point(logger: Logger, point: CurvePoint) -> None:
    """A point of a loss curve."""
    named = {f"loss/{name}": value for name, value in point.losses.items()}
    logger.log_metrics(named | {"rows": point.rows}, step=point.step)
