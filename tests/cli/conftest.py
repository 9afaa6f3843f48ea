"""The command line in this process and in one of its own; a small trained output folder shared by all tests."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cli_world import RUN, Bench, InlinePool, Said, start

from bench.cli import main
from bench.core.registry import MODELS
from bench.runner import executor, worker


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of an uninterrupted run of :data:`RUN`; tests may read it only."""
    out = tmp_path_factory.mktemp("trained") / "out"
    process = start(*RUN, "--out", out)
    said, errors = process.communicate(timeout=180)
    assert (process.returncode, errors) == (0, ""), said + errors
    return out


@pytest.fixture
def out(trained: Path, tmp_path: Path) -> Path:
    """A copy of ``trained`` to damage."""
    shutil.copytree(trained, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def bench(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """Run the command line in this process, in an empty folder, without worker processes."""

    def pool(jobs: int, listen: Callable[[Any], None]) -> InlinePool:
        monkeypatch.setattr(worker, "_queue", SimpleNamespace(put=listen))
        return InlinePool(jobs, listen)

    monkeypatch.setattr(executor, "Pool", pool)
    monkeypatch.setattr(MODELS, "_outside", {})  # a model file lives as long as the process
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main.main()
        return Said(int(stopped.value.code or 0), *capfd.readouterr())

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker on every core has
    yield run
    torch.set_num_threads(threads)
