"""Train one cell and leave its files in a folder."""

from __future__ import annotations

import logging
import math
import platform
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from safetensors.torch import save_file

from bench.core.cell import SCHEMA_VERSION, Cell
from bench.core.config import Calibration, Config
from bench.core.errors import CellError
from bench.core.record import PREDICTIONS, WEIGHTS, Cost, Metric, Record, Split
from bench.core.registry import MODELS
from bench.core.seeding import derive
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling.fitted import FittedModule
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from bench.training.callbacks import Evaluation, LossCurve, ProgressReport, Reporter, TrainingClock
from bench.training.memory import PeakMemory
from bench.training.predictions import truth_of, write_predictions
from bench.training.tracking import Mode, summarise, tracked

PACKAGES = ("torch", "pytorch-lightning", "torchmetrics", "numpy", "duckdb", "lightgbm", "wandb", "esm-bench")


def _silent(stage: str, done: int, total: int) -> None:
    """A reporter that tells nobody."""


def train_cell(
    cell: Cell,
    city: EncodedCity,
    folder: Path,
    *,
    report: Reporter = _silent,
    wandb_folder: Path | None = None,
    wandb_mode: Mode = "off",
    wandb_group: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Record:
    """Fit, evaluate, and write predictions and weights into ``folder``; a trial never opens the test split.

    Returns:
        the record, without checksums of files: the store seals it.

    Raises:
        CellError: a split is empty, or the model diverged.
        UserError: the model is unknown or cannot be imported.
    """
    quiet()
    for split, (first, last) in city.meta.splits.items():
        if first == last:
            raise CellError(f"the {split} split has no rows")
    start, memory = time.perf_counter(), PeakMemory()
    model_class: type[FunnelModule] | type[FittedModule] = MODELS.get(cell.model)
    epochs = model_class.passes(cell.config)
    torch.manual_seed(derive(cell.seed, "dropout"))
    model = model_class(cell.config, InputShape.of(city, cell.config), cell.seed)
    calibration: Calibration = cell.config.calibration if "calibration" in model.knobs else "none"
    data = FunnelDataModule(
        city, cell.config, cell.seed, calibration, histories=not issubclass(model_class, FittedModule)
    )
    rows = city.rows("train")
    train_rows = (rows.stop - rows.start) * epochs
    curve, evaluation, clock = LossCurve(), Evaluation(city), TrainingClock()
    metrics: dict[Split, dict[str, Metric]] = {}

    with tracked(cell, wandb_folder or folder, wandb_mode, wandb_group) as logger:
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cuda" if torch.cuda.is_available() else "cpu",
            devices=1,
            logger=logger or False,
            callbacks=[clock, curve, evaluation, ProgressReport(report, train_rows)],
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
        )
        trainer.fit(model, datamodule=data)
        metrics["valid"] = _evaluated(evaluation, city, "valid", cell.config)
        summarise(logger, "valid", metrics["valid"])
        predict_speed = math.nan
        if cell.test:
            report("test", train_rows, train_rows)
            test_start = time.perf_counter()
            trainer.test(model, datamodule=data, verbose=False)
            tested = city.rows("test")
            predict_speed = (tested.stop - tested.start) / (time.perf_counter() - test_start)
            metrics["test"] = _evaluated(evaluation, city, "test", cell.config)
            summarise(logger, "test", metrics["test"])
            assert evaluation.metrics is not None
            write_predictions(folder / PREDICTIONS, city, evaluation.metrics.probabilities())
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS)

    seconds = time.perf_counter() - start
    return Record(
        schema_version=SCHEMA_VERSION,
        key=cell.key,
        cell=cell,
        metrics=metrics,
        curve=curve.points,
        cost=Cost(
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            train_rows=train_rows,
            train_seconds=clock.seconds,
            train_rows_per_second=train_rows / max(clock.seconds, 1e-9),
            predict_rows_per_second=None if math.isnan(predict_speed) else predict_speed,
            wall_seconds=seconds,
            peak_memory_mb=memory.megabytes(),
            device=device_name(trainer),
        ),
        notes={**_calibrated(city, calibration), **model.notes(), "threads": torch.get_num_threads()},
        versions=versions(),
        files={},
        created=now().isoformat(timespec="seconds"),
    )


def _calibrated(city: EncodedCity, mode: str) -> dict[str, float | int | str]:
    """What Sample Calibration did to the cart labels that were learned from."""
    if mode == "none":
        return {"calibration": mode}
    found = city.meta.calibration["recommendation"]
    return {
        "calibration": mode,
        "bad_cases": found.bad_cases,
        "matched_carts": found.matched,
        "changed_labels": found.changed[mode],
    }


def quiet() -> None:
    """Keep Lightning's banners and advice out of the progress display."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torch\.utils\._pytree)")
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")


def versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def device_name(trainer: pl.Trainer) -> str:
    """The processor or accelerator that trained."""
    if trainer.strategy.root_device.type == "cuda":
        return torch.cuda.get_device_name(trainer.strategy.root_device)
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


def _evaluated(evaluation: Evaluation, city: EncodedCity, split: Split, config: Config) -> dict[str, Metric]:
    """All metrics of the predictions just gathered. No truth is known of an action other than a cart.

    Raises:
        CellError: a prediction is not finite.
    """
    assert evaluation.metrics is not None
    for name, values in evaluation.metrics.probabilities().items():
        if not np.isfinite(values).all():
            raise CellError(f"diverged: {name} is not finite on {split} rows")
    truth = truth_of(city, split)
    if truth is not None and config.action != "cart":
        del truth["p_cart"]
    return evaluation.metrics.results(truth)
