"""Train one cell and leave its files in a folder."""

from __future__ import annotations

import logging
import math
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.loggers import WandbLogger
from safetensors.torch import save_file
from torch.optim import Optimizer

from bench.core.cell import SCHEMA_VERSION, Cell, canonical
from bench.core.config import COEFFICIENTS, Calibration, Config
from bench.core.errors import CellError
from bench.core.record import PREDICTIONS, WEIGHTS, Cost, Metric, Record, Split
from bench.core.registry import MODELS
from bench.core.seeding import derive
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling.fitted import FittedModule
from bench.modeling.group import CellGroup
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from bench.nn.distributed import processes, rank
from bench.nn.optimisers import RowOptimizer
from bench.training.callbacks import Evaluation, LossCurve, ProgressReport, Reporter, TrainingClock
from bench.training.memory import PeakMemory
from bench.training.predictions import truth_of, write_predictions
from bench.training.recording import Recording
from bench.training.tracking import Mode, summarise, tracked
from bench.training.trainer import trainer_of

PACKAGES = ("torch", "pytorch-lightning", "torchmetrics", "numpy", "duckdb", "lightgbm", "wandb", "esm-bench")


def _silent(stage: str, done: int, total: int) -> None:
    """A reporter that tells nobody."""


class Trained(NamedTuple):
    """A cell that was trained; ``probabilities`` of the test rows, None of a trial. The record lacks checksums."""

    record: Record
    model: FunnelModule | FittedModule
    probabilities: Mapping[str, NDArray[np.float32]] | None

    def write(self, folder: Path, city: EncodedCity) -> None:
        """Predictions and weights."""
        if self.probabilities is not None:
            write_predictions(folder / PREDICTIONS, city, self.probabilities)
        save_file({name: value.contiguous() for name, value in self.model.state_dict().items()}, folder / WEIGHTS)


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
    with tracked(cell, wandb_folder or folder, wandb_mode, wandb_group) as logger:
        (trained,) = _train((cell,), city, report, logger, now)
        if isinstance(trained, CellError):
            raise trained
        trained.write(folder, city)
    return trained.record


def train_group(
    cells: Sequence[Cell],
    city: EncodedCity,
    *,
    report: Reporter = _silent,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Trained | CellError]:
    """Train several cells at once, on the same batches, as :class:`CellGroup` can: see :func:`together`.

    Each has its share of the seconds. A cell that diverges does not stop the others.

    Raises:
        CellError: a split is empty, or all diverged.
        UserError: the model is unknown or cannot be imported.
    """
    return _train(cells, city, report, None, now)


def together(cell: Cell) -> str:
    """Cells for which this is equal, and not empty, can be trained at once: they differ in seed and coefficients.

    Dropout draws from one generator of the process, and so would differ; with an order of their own cells share no
    batches.
    """
    config = cell.config
    if config.dropout or config.order == "own" or not issubclass(MODELS.get(cell.model), FunnelModule):
        return ""
    # A coefficient of 0 may leave out a term.
    signs = {name: getattr(config, name) > 0 for name in COEFFICIENTS}
    fixed = cell.model_dump(mode="json", exclude={"seed": True, "config": set(COEFFICIENTS)})
    return canonical(fixed | {"signs": signs})


def _train(
    cells: Sequence[Cell], city: EncodedCity, report: Reporter, logger: WandbLogger | None, now: Callable[[], datetime]
) -> list[Trained | CellError]:
    """Cells that can be trained together, or one; ``logger`` only for one."""
    quiet()
    for split, (first, last) in city.meta.splits.items():
        if first == last:
            raise CellError(f"the {split} split has no rows")
    start, memory, first_cell = time.perf_counter(), PeakMemory(), cells[0]
    model_class: type[FunnelModule] | type[FittedModule] = MODELS.get(first_cell.model)
    config, epochs = first_cell.config, model_class.passes(first_cell.config)
    torch.manual_seed(derive(first_cell.seed, "dropout"))
    models = [model_class(cell.config, InputShape.of(city, cell.config), cell.seed) for cell in cells]
    module = models[0] if len(models) == 1 else CellGroup(models)  # type: ignore[arg-type]
    calibration: Calibration = config.calibration if "calibration" in model_class.knobs else "none"
    fitted = issubclass(model_class, FittedModule)
    part = rank(), processes()
    data = FunnelDataModule(city, config, first_cell.seed, calibration, histories=not fitted, part=part)
    rows = city.rows("train")
    train_rows = (rows.stop - rows.start) * epochs
    curve, evaluation, clock = LossCurve(len(cells)), Evaluation(city, len(cells)), TrainingClock()
    recording = Recording()
    callbacks = [clock, curve, evaluation, recording, ProgressReport(report, train_rows)]
    trainer = trainer_of(callbacks, epochs, logger=logger or False)
    trainer.fit(module, datamodule=data)
    found: dict[Split, list[dict[str, Metric] | CellError]] = {}
    found["valid"] = _evaluated(evaluation, city, "valid", config, logger)
    predict_speed = math.nan
    if first_cell.test:
        report("test", train_rows, train_rows)
        test_start = time.perf_counter()
        trainer.test(module, datamodule=data, verbose=False)
        tested = city.rows("test")
        predict_speed = len(cells) * (tested.stop - tested.start) / (time.perf_counter() - test_start)
        found["test"] = _evaluated(evaluation, city, "test", config, logger)
    if rank():  # the first process has all predictions, and writes the record
        return []

    done: list[Trained | CellError] = []
    seconds = (time.perf_counter() - start) / len(cells)
    train_seconds = clock.seconds / len(cells)
    for place, cell in enumerate(cells):
        metrics: dict[Split, dict[str, Metric]] = {}
        errors = [CellError(curve.diverged[place])] if place in curve.diverged else []
        for split, results in found.items():
            result = results[place]
            if isinstance(result, CellError):
                errors.append(result)
            else:
                metrics[split] = result
        if errors:
            done.append(errors[0])
            continue
        model = module.release(place) if isinstance(module, CellGroup) else models[0]
        record = Record(
            schema_version=SCHEMA_VERSION,
            key=cell.key,
            cell=cell,
            metrics=metrics,
            curve=curve.points[place],
            cost=Cost(
                parameters=sum(parameter.numel() for parameter in model.parameters()),
                train_rows=train_rows,
                train_seconds=train_seconds,
                train_rows_per_second=train_rows / max(train_seconds, 1e-9),
                predict_rows_per_second=None if math.isnan(predict_speed) else predict_speed,
                wall_seconds=seconds,
                peak_memory_mb=memory.megabytes(),
                device=device_name(trainer),
            ),
            notes={
                **_calibrated(city, calibration),
                **model.notes(),
                **_manner(model, len(cells), trainer.optimizers),
                **recording.notes(),
            },
            versions=versions(),
            files={},
            created=now().isoformat(timespec="seconds"),
        )
        probabilities = evaluation.metrics[place].probabilities() if cell.test else None
        done.append(Trained(record, model, probabilities))
    return done


def _manner(
    model: FunnelModule | FittedModule, together: int, optimizers: Sequence[Optimizer]
) -> dict[str, float | int | str]:
    """How the cell was computed."""
    manner: dict[str, float | int | str] = {"threads": torch.get_num_threads()}
    if isinstance(model, FunnelModule):
        manner["precision"] = str(model.dtype_of_products).removeprefix("torch.")
    if any(isinstance(optimizer, RowOptimizer) and optimizer.is_fused for optimizer in optimizers):
        manner["embedding_update"] = "fbgemm"
    manner |= {"processes": processes()} if processes() > 1 else {}
    return manner | ({"together": together} if together > 1 else {})


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
    warnings.filterwarnings("ignore", message=r"TBE B200 optimization")  # FBGEMM, on any card


def versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def device_name(trainer: pl.Trainer) -> str:
    """The processor or accelerator that trained."""
    if trainer.strategy.root_device.type == "cuda":
        return torch.cuda.get_device_name(trainer.strategy.root_device)
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


def _evaluated(
    evaluation: Evaluation, city: EncodedCity, split: Split, config: Config, logger: WandbLogger | None
) -> list[dict[str, Metric] | CellError]:
    """All metrics of the predictions just gathered, of each cell, or why there are none: one is not finite.

    No truth is known of an action other than a cart.
    """
    truth = truth_of(city, split)
    if truth is not None and config.action != "cart":
        del truth["p_cart"]
    found: list[dict[str, Metric] | CellError] = []
    for gathered in evaluation.metrics:
        if wrong := gathered.not_finite():
            found.append(CellError(f"diverged: {wrong[0]} is not finite on {split} rows"))
            continue
        metrics = gathered.results(truth)
        summarise(logger, split, metrics)
        found.append(metrics)
    return found
