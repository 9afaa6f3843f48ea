"""Cells of a run: failures are kept, what is stored is skipped, what is damaged is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.core.cell import SCHEMA_VERSION, Cell
from bench.core.config import Config
from bench.core.errors import CellError, UserError
from bench.core.record import PREDICTIONS, RECORD, Cost, Record
from bench.data.encoded import EncodedCity
from bench.results.store import Store
from bench.runner import run, worker
from bench.runner.events import Progress
from bench.runner.pool import Finished

CELLS = [Cell(dataset="d", fingerprint="f", city="1", model="esmm", config=Config(), seed=seed) for seed in range(3)]


class InlinePool:
    """Runs tasks in this process; those in ``deadly`` have killed theirs."""

    jobs = 1

    def __init__(self, deadly: Sequence[Cell] = ()) -> None:
        self.deadly = deadly
        self.heard: list[Progress] = []
        self.listen = self.heard.append

    def run(self, function: Any, tasks: Any, arguments: Any) -> Iterator[Finished[Any]]:
        for task in tasks:
            if any(cell in self.deadly for cell in task):
                yield Finished(task, None, None, killed=True)
            else:
                yield Finished(task, function(*arguments(task)), None)


def fake_train(cell: Cell, city: object, folder: Path, **_: Any) -> Record:
    if cell.seed == 1:
        raise CellError("diverged: the ctr loss is nan at step 2")
    if cell.seed == 2:
        raise RuntimeError("bad [shape]\n  of it")
    (folder / PREDICTIONS).write_bytes(b"predictions")
    return Record(
        schema_version=SCHEMA_VERSION,
        key=cell.key,
        cell=cell,
        metrics={},
        curve=[],
        cost=Cost(
            parameters=1,
            train_rows=1,
            train_seconds=1.0,
            train_rows_per_second=1.0,
            predict_rows_per_second=1.0,
            wall_seconds=1.0,
            peak_memory_mb=1.0,
            device="cpu",
        ),
        notes={},
        versions={},
        files={},
        created="2023-05-10T00:00:00+00:00",
    )


@pytest.fixture(autouse=True)
def _no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EncodedCity, "load", lambda folder: None)
    monkeypatch.setattr(worker, "train_cell", fake_train)


def train(out: Path, pool: InlinePool) -> run.Outcome:
    return run.run_cells(out, CELLS, {"f": out}, pool)  # type: ignore[arg-type]


def test_a_failing_cell_keeps_its_traceback_and_does_not_stop_the_others(tmp_path: Path) -> None:
    pool = InlinePool()
    outcome = train(tmp_path, pool)
    assert outcome.done == [CELLS[0]]
    assert outcome.failed == {
        "d/1 esmm seed 1": "diverged: the ctr loss is nan at step 2",
        "d/1 esmm seed 2": "RuntimeError: bad [shape] of it",
    }
    failures = {failure.cell.seed: failure for failure in Store(tmp_path).failures()}
    assert failures[1].reason == outcome.failed["d/1 esmm seed 1"]
    assert "fake_train" in failures[2].traceback
    assert [(event.key, event.stage) for event in pool.heard] == [
        (CELLS[0].key, "done"),
        (CELLS[1].key, "failed"),
        (CELLS[2].key, "failed"),
    ]
    assert [path.name for path in (tmp_path / "cells").iterdir()] == [CELLS[0].key]


def test_a_cell_that_killed_its_process_has_failed(tmp_path: Path) -> None:
    outcome = train(tmp_path, InlinePool(deadly=CELLS[:1]))
    assert outcome.failed["d/1 esmm seed 0"] == "its worker process was killed (out of memory?)"
    assert {failure.cell.seed for failure in Store(tmp_path).failures()} == {0, 1, 2}


def test_success_clears_the_failure(tmp_path: Path) -> None:
    train(tmp_path, InlinePool(deadly=CELLS[:1]))
    train(tmp_path, InlinePool())
    assert {failure.cell.seed for failure in Store(tmp_path).failures()} == {1, 2}


def test_a_cell_that_another_process_finished_meanwhile_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, InlinePool())
    monkeypatch.setattr(worker, "train_cell", None)
    assert worker.run_cell(tmp_path, CELLS[0], tmp_path, "off") is None


def test_finished_cells_are_skipped_and_failed_ones_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert run.unfinished(store, CELLS) == CELLS
    train(tmp_path, InlinePool())
    assert run.unfinished(store, CELLS) == CELLS[1:]


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    train(tmp_path, InlinePool())
    record = tmp_path / "cells" / CELLS[0].key / RECORD
    record.write_text(record.read_text()[:100])
    with pytest.raises(UserError, match=r"record.json must be a record, but it is truncated or damaged; delete .*"):
        run.unfinished(Store(tmp_path), CELLS)


def test_a_half_removed_cell_is_trained_again(tmp_path: Path) -> None:
    train(tmp_path, InlinePool())
    (tmp_path / "cells" / CELLS[0].key / RECORD).unlink()
    assert run.unfinished(Store(tmp_path), CELLS) == CELLS
    assert train(tmp_path, InlinePool()).done == [CELLS[0]]


def test_what_dead_processes_left_is_cleared_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "out" / "cells" / ".staging-999999999-ab").mkdir(parents=True)
    run.open_output(tmp_path / "out")
    assert list((tmp_path / "out" / "cells").iterdir()) == []


@pytest.mark.parametrize(
    ("gains", "rows", "expected"),
    [
        ([1.2, 1.2, 1.2], 20_000_000, 8),
        ([1.2, 1.01, 1.3], 20_000_000, 8),  # the median counts
        ([1.2, 1.01, 1.0], 20_000_000, 1),
        ([None, None, 1.2], 20_000_000, 1),  # a process that was killed tells nothing
        ([1.2, 1.2, 1.2], 19_999_999, 1),
    ],
)
def test_cells_are_trained_at_once_where_that_is_faster(
    gains: list[float | None], rows: int, expected: int, tmp_path: Path
) -> None:
    """Measured by all processes that will train, at the same time, on the largest group."""
    cells = [
        Cell(dataset="d", fingerprint="f", city="1", model=model, config=Config(), seed=seed)
        for model in ("esmm", "esmc", "mmoe", "esm2")
        for seed in range(3)
    ]

    class MeasuringPool:
        jobs = 3

        def run(self, function: Any, tasks: Any, arguments: Any) -> Iterator[Finished[Any]]:
            assert function is worker.gain_of
            assert [arguments(task) for task in tasks] == [(tuple(cells[:3]), tmp_path, None)] * 3
            return (Finished(task, gain, None) for task, gain in zip(tasks, gains, strict=True))

    pool: Any = MeasuringPool()
    assert run.best_at_once(cells, {"f": tmp_path}, rows, pool) == expected
    assert run.best_at_once(cells[::3], {"f": tmp_path}, rows, pool) == 1  # nothing to put together
