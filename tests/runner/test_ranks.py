"""One cell trained by two processes: what is stored, and what happens when one of them fails."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from torch.distributed import PrefixStore, TCPStore

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.record import PREDICTIONS
from bench.core.registry import MODELS
from bench.data.source import Source
from bench.results.store import Store
from bench.runner import ranks, worker
from bench.runner.events import Progress
from bench.runner.layout import Layout
from bench.runner.model_files import add_model_file
from bench.runner.plan import Request, models_of, plan
from bench.runner.prepare import encoded_folder
from bench.runner.team import Team
from bench.training.distributed import Place

CONFIG = Config(precision="float32", initial_accumulator=0.01, hidden=(16, 8))
PAIR = Team(2)

FRAIL = """\
import os, signal, time
from pathlib import Path

from bench.nn.distributed import rank
from esm_models.esmm import ESMM


class Frail(ESMM):
    name = "frail"
    title = "Frail"

    def training_step(self, batch, index):
        if index == 2:
            Path({folder!r}, str(os.getpid())).touch()
        if index == 2 and rank() == 1:
            {what}
        return super().training_step(batch, index)
"""

#: From what the second process does in its third step to the cell of such a model.
Frail = Callable[[str], Cell]


@pytest.fixture
def encoded(layout: Layout, source: Source) -> Path:
    return encoded_folder(layout, source, "6")


def cell_of(source: Source, model: str) -> Cell:
    (cell,) = plan([Request(source, ["6"], models_of([model]), [CONFIG])], seeds=1).cells
    return cell


@pytest.fixture
def frail(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frail:
    """Makes cells of a model that all processes train for two steps, and the first one on."""
    monkeypatch.setattr(MODELS, "_outside", {})
    (tmp_path / "pids").mkdir()

    def write(what: str) -> Cell:
        path = tmp_path / "frail.py"
        path.write_text(FRAIL.format(what=what, folder=str(tmp_path / "pids")))
        add_model_file(path)
        return cell_of(source, "frail")

    return write


def wait_until_gone(folder: Path, seconds: float) -> bool:
    """Whether the processes that named themselves in ``folder`` are gone within that time."""
    end = time.monotonic() + seconds
    while any(Path("/proc", path.name).exists() for path in folder.iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(Path("/proc", path.name).exists() for path in folder.iterdir())


def test_two_processes_store_what_one_does(
    layout: Layout, source: Source, encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Progress] = []
    monkeypatch.setattr(worker, "_queue", SimpleNamespace(put=heard.append))
    cell, alone, pair = cell_of(source, "esmc"), Store(tmp_path / "alone"), Store(tmp_path / "pair")
    assert worker.run_cells(alone.out, [cell], encoded, "off") == [None]
    told_alone, heard[:] = list(heard), []
    assert ranks.run_cells(PAIR, pair.out, [cell], encoded, "off") == [None]
    one, two = alone.record(cell.key), pair.record(cell.key)
    for split, metrics in one.metrics.items():
        for name, metric in metrics.items():
            assert two.metrics[split][name].n == metric.n
            assert two.metrics[split][name].value == pytest.approx(metric.value, abs=1e-3)
    assert [point.rows for point in two.curve] == [point.rows for point in one.curve]
    assert two.cost.train_rows == one.cost.train_rows
    assert (one.notes.get("processes"), two.notes["processes"]) == (None, 2)
    first, second = (pq.read_table(store.cells / cell.key / PREDICTIONS) for store in (alone, pair))
    assert first.column_names == second.column_names
    assert first["exposure"].equals(second["exposure"])
    assert first["click"].equals(second["click"])
    np.testing.assert_allclose(second["ctcvr"].to_numpy(), first["ctcvr"].to_numpy(), atol=1e-5)
    assert pair.keys() == [cell.key]
    assert {event.stage for event in heard} == {event.stage for event in told_alone}
    assert max(event.rows for event in heard) == one.cost.train_rows


def test_trees_are_fitted_by_one_that_waits_for_no_other(source: Source, encoded: Path, tmp_path: Path) -> None:
    cell, store = cell_of(source, "gbdt"), Store(tmp_path / "pair")
    work = ranks.Work(store.out, cell, encoded, "off", None, None)
    nowhere: Any = None
    assert ranks._took_part(Place(local=1, devices=2), work, nowhere) == ranks.Outcome()
    assert store.keys() == []
    assert ranks._took_part(Place(local=0, devices=2), work, nowhere) == ranks.Outcome()
    assert "processes" not in store.record(cell.key).notes


def test_one_that_is_killed_ends_the_cell_with_its_reason(frail: Frail, encoded: Path, tmp_path: Path) -> None:
    cell, store = frail("os.kill(os.getpid(), signal.SIGKILL)"), Store(tmp_path / "pair")
    reason = "process 1 of 2 was killed by SIGKILL (out of memory?)"
    assert ranks.run_cells(PAIR, store.out, [cell], encoded, "off", None, tmp_path / "frail.py") == [reason]
    assert [(failure.key, failure.reason) for failure in store.failures()] == [(cell.key, reason)]
    assert store.keys() == []
    assert len(list((tmp_path / "pids").iterdir())) == 2
    assert wait_until_gone(tmp_path / "pids", 0.0)


def test_the_first_outcome_counts_on_all_nodes() -> None:
    point = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    nodes = [PrefixStore("cell", TCPStore("127.0.0.1", point.port, is_master=False)) for _ in range(2)]
    first = ranks.Outcome("ValueError: of its own", "Traceback")
    assert ranks._settle(nodes[1], first) == first
    assert ranks._settle(nodes[0], ranks.Outcome("RuntimeError: Connection closed by peer", "Traceback")) == first
    assert ranks._settle(PrefixStore("another", point), ranks.Outcome()) == ranks.Outcome()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_no_process_outlives_the_one_that_started_it(frail: Frail, encoded: Path, tmp_path: Path) -> None:
    cell, pids = frail("time.sleep(600)"), tmp_path / "pids"
    arguments = PAIR, tmp_path / "pair", [cell], encoded, "off", None, tmp_path / "frail.py"
    starter = multiprocessing.get_context("spawn").Process(target=ranks.run_cells, args=arguments)
    starter.start()
    end = time.monotonic() + 60
    while len(list(pids.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(list(pids.iterdir())) == 2
    os.kill(starter.pid or 0, 9)
    starter.join()
    assert wait_until_gone(pids, 10.0)
