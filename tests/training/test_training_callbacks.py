"""Callbacks with a hand-driven trainer: means over intervals, the clock, progress."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.core.errors import CellError
from bench.training import callbacks
from bench.training.callbacks import LossCurve, ProgressReport, TrainingClock
from bench.training.memory import PeakMemory


class Logger:
    def __init__(self) -> None:
        self.said: list[tuple[dict[str, float], int]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.said.append((metrics, step))


def drive(curve: LossCurve, losses: list[float], rows: int = 10, total: int = 0, logger: Any = None) -> Any:
    loader = SimpleNamespace(dataset=SimpleNamespace(rows_in=lambda index: rows))
    trainer = SimpleNamespace(
        estimated_stepping_batches=total or len(losses), global_step=0, logger=logger, train_dataloader=loader
    )
    curve.on_train_start(trainer, None)  # type: ignore[arg-type]
    for index, loss in enumerate(losses):
        trainer.global_step += 1
        outputs = {"terms": {"ctr": torch.tensor(loss), "ctcvr": torch.tensor(2 * loss)}}
        batch = SimpleNamespace(rows=torch.zeros(rows))
        curve.on_train_batch_end(trainer, None, outputs, batch, index)  # type: ignore[arg-type]
    curve.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    return trainer


def test_points_are_means_over_equal_intervals() -> None:
    curve, logger = LossCurve(), Logger()
    drive(curve, [1.0, 2.0, 3.0, 5.0, 7.0, 9.0, 4.0], total=300, logger=logger)  # a point every 3 steps
    found = [(point.step, point.rows, point.losses) for point in curve.points[0]]
    assert found == [
        (3, 30, {"ctr": 2.0, "ctcvr": 4.0}),
        (6, 60, {"ctr": 7.0, "ctcvr": 14.0}),
        (7, 70, {"ctr": 4.0, "ctcvr": 8.0}),  # what is left at the end of the epoch
    ]
    assert logger.said[0] == ({"loss/ctr": 2.0, "loss/ctcvr": 4.0, "rows": 30}, 3)


@pytest.mark.parametrize(("steps", "points"), [(7, 7), (100, 100), (250, 125), (1000, 100)])
def test_the_number_of_points(steps: int, points: int) -> None:
    curve = LossCurve()
    drive(curve, [1.0] * steps)
    assert len(curve.points[0]) == points
    assert curve.points[0][-1].rows == 10 * steps


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_fails_the_cell(bad: float) -> None:
    with pytest.raises(CellError, match=r"diverged: the ctr loss is (nan|inf) at step 3"):
        drive(LossCurve(), [1.0, 1.0, bad, 1.0])
    curve = LossCurve()
    with pytest.raises(CellError, match="diverged"):  # within an interval: its mean tells
        drive(curve, [1.0, bad, 1.0, 1.0], total=400)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_clock_leaves_validation_out(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And waits for a GPU, which does what the host has started."""
    waited: list[torch.device] = []
    now = iter([10.0, 13.0, 100.0, 105.0])
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr("torch.cuda.synchronize", waited.append)
    clock, none = TrainingClock(), SimpleNamespace()
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)))
    for _ in range(2):
        clock.on_train_epoch_start(trainer, none)  # type: ignore[arg-type]
        clock.on_validation_start(trainer, none)  # type: ignore[arg-type]
        clock.on_train_epoch_end(trainer, none)  # type: ignore[arg-type]
    assert clock.seconds == 3.0 + 5.0
    assert waited == ([] if device == "cpu" else [torch.device("cuda")] * 2)


def test_progress_is_not_told_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 100.1, 100.3, 100.4, 100.56])
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(now))
    said: list[tuple[str, int, int]] = []
    progress = ProgressReport(lambda *stage: said.append(stage), train_rows=50, interval=0.25)
    batch = SimpleNamespace(rows=torch.zeros(10))
    trainer: Any = SimpleNamespace(train_dataloader=SimpleNamespace(dataset=SimpleNamespace(rows_in=lambda index: 10)))
    for index in range(5):
        progress.on_train_batch_end(trainer, None, None, batch, index)  # type: ignore[arg-type]
    assert said == [("train", 10, 50), ("train", 30, 50), ("train", 50, 50)]


def test_peak_memory_counts_what_was_freed() -> None:
    memory = PeakMemory()
    before = memory.megabytes()
    block = torch.ones(64 * 1024 * 1024 // 4)
    del block
    assert memory.megabytes() >= max(before, 64)
