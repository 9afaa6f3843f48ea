"""Ctrl-C, kill -9 and two runs at once: nothing is lost, nothing is left behind, the result is the same."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_world import RUN, WORLD, Bench, command, environment, start, use_cores

from bench.core.record import PREDICTIONS, WEIGHTS
from bench.results.store import Store

pytestmark = pytest.mark.slow

STOPPED = "stopped; finished cells are kept: run the same command again to carry on."


def state(process: int) -> str:
    """Letter of the state of a process; empty where there is none, Z where it is dead."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return ""


def children(process: int) -> list[int]:
    """Processes below ``process``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if path.read_text().rsplit(")", 1)[1].split()[1] == str(process):
                child = int(path.parent.name)
                found += [child, *children(child)]
    return found


def workers(process: int) -> list[int]:
    return [child for child in children(process) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def stored(out: Path) -> dict[str, int]:
    """Finished cells and when their records were written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cells/[!.]*/record.json")}


def assert_all_gone(processes: list[int]) -> None:
    assert processes
    wait_for(lambda: all(state(process) in ("", "Z") for process in processes), seconds=10)


def kill_when(process: subprocess.Popen[str], happened: Callable[[], bool], seconds: float = 60) -> None:
    """``kill -9`` in the middle of a run; the processes below it end by themselves."""
    wait_for(lambda: happened() or process.poll() is not None, seconds)
    below = children(process.pid)
    process.kill()
    process.communicate(timeout=20)
    assert_all_gone(below)


def assert_same_results(out: Path, reference: Path) -> None:
    first, second = Store(reference), Store(out)
    assert first.keys() == second.keys()
    assert first.check() == second.check() == []
    for one, other in zip(first.records(), second.records(), strict=True):
        assert one.metrics == other.metrics
        assert one.curve == other.curve
        assert one.files == other.files  # checksums
        assert set(one.files) == {PREDICTIONS, WEIGHTS}
    assert not list(out.rglob(".staging-*"))


def in_a_terminal_until(cells: int, out: Path) -> tuple[int, str]:
    """:data:`RUN` in a terminal, into which Ctrl-C is typed when ``cells`` are stored; exit code and what it shows."""
    process, terminal = pty.fork()
    if process == 0:
        use_cores()
        os.execvpe(command()[0], command(*RUN, "--out", out), environment() | {"TERM": "xterm"})
    shown, below = b"", list[int]()
    with contextlib.suppress(OSError):  # how Linux tells that the other end is closed
        while chunk := os.read(terminal, 65536):
            shown += chunk
            if not below and len(stored(out)) >= cells:
                below = children(process)
                os.write(terminal, b"\x03")
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.close(terminal)
    assert_all_gone(below)
    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def test_an_interrupted_run_gives_the_result_of_an_uninterrupted_one(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    code, shown = in_a_terminal_until(1, out)
    assert code == 130
    assert shown.rstrip().endswith(STOPPED)
    assert re.search(r"\d/4 cells +━+.* \d+% [\d,]+ samples/s \d+:\d\d", shown)
    assert re.search(r"  6 shared_bottom (train|test )", shown)
    for noise in ("Traceback", "Warning", "warn", "Lightning", "GPU", "wandb"):
        assert noise not in shown
    assert not list(out.rglob(".staging-*"))
    first = stored(out)
    assert 1 <= len(first) < 4

    process = start(*RUN, "--out", out)
    kill_when(process, lambda: len(stored(out)) > len(first))
    second = stored(out)
    assert first.items() < second.items()

    process = start(*RUN, "--out", out)
    said, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert f"{len(second)} of 4 cells are stored already" in said
    assert second.items() <= stored(out).items()
    assert_same_results(out, trained)


def test_a_killed_worker_costs_nothing_but_time(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained / "data", out / "data")
    process = start(*RUN, "--out", out)
    wait_for(lambda: bool(list(out.glob("cells/.staging-*"))) or process.poll() is not None)
    busy = int(next(out.glob("cells/.staging-*")).name.split("-")[1])
    assert busy in workers(process.pid)
    os.kill(busy, signal.SIGKILL)
    said, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert "4 cells trained; next" in said
    assert_same_results(out, trained)


def test_a_killed_run_loses_no_more_than_the_cells_that_it_trains_at_once(tmp_path: Path) -> None:
    killed, peace = tmp_path / "killed", tmp_path / "peace"
    three = ("--models", "shared_bottom,esmm", "--seeds", "3", "--at-once", "3", "--jobs", "1")
    run = ("run", "--cities", "6", *three, *WORLD)
    process = start(*run, "--out", killed)
    kill_when(process, lambda: len(stored(killed)) >= 3)
    first = stored(killed)
    assert 3 <= len(first) < 6
    for out in (killed, peace):
        process = start(*run, "--out", out)
        said, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, ""), said + errors
    assert first.items() < stored(killed).items()
    assert {record.notes["together"] for record in Store(killed).records()} == {3}
    assert_same_results(killed, peace)


def test_ctrl_c_while_everything_still_starts(tmp_path: Path) -> None:
    process = start(*RUN, "--out", tmp_path / "out")
    wait_for(lambda: bool(workers(process.pid)) or process.poll() is not None)
    below = children(process.pid)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    said, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "")
    assert said.splitlines()[-1] == STOPPED
    assert_all_gone(below)


def test_two_runs_at_once_share_the_work_and_the_number_of_jobs_changes_nothing(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = [start(*RUN, "--jobs", "1", "--out", out, cores=(core, core)) for core in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=180)
        assert (process.returncode, errors) == (0, "")
    assert_same_results(out, trained)
    assert len(list(out.glob("data/tables/*"))) == len(list(out.glob("data/encoded/*"))) == 1


def test_a_killed_study_is_carried_on(bench: Bench, out: Path) -> None:
    arguments = ("tune", "--city", "6", "--trials", "3", "--jobs", "1", *WORLD, "--out", out)
    process = start(*arguments)
    kill_when(process, lambda: len(stored(out)) >= 5)
    before = stored(out)
    said = bench(*arguments)
    assert (said.code, said.err) == (0, "")
    assert re.search(r"best constraint_weight = 0\.\d+ ", said.out)
    finished = re.findall(r"│ \d+ +│ ([\d.]+) +│ 0\.\d+ +│ COMPLETE", said.out)
    assert finished == ["0.01", "0.05", "0.1"]
    assert before.items() <= stored(out).items()
    assert len(stored(out)) == 4 + 3


def test_exhibits_of_a_killed_run_have_identical_figures(bench: Bench, tmp_path: Path) -> None:
    """``kill -9`` after two cells, then the same command again: the report's figures are those of a run in peace."""
    run = ("run", "--exhibit", "figure_7,table_v", "--cities", "6", "--seeds", "1", "--jobs", "2", *WORLD)
    killed, peace = tmp_path / "killed", tmp_path / "peace"
    process = start(*run, "--out", killed)
    kill_when(process, lambda: len(stored(killed)) >= 2, seconds=180)
    first = stored(killed)
    assert 2 <= len(first) < 8
    for out in (killed, peace):
        process = start(*run, "--out", out)
        said, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (0, ""), said + errors
        assert bench("report", "--out", out, "--exhibits", "figure_7,table_v").code == 0
    assert first.items() < stored(killed).items()
    assert len(stored(peace)) == 8  # ESMC and ESMS in three modes, ESMC² and ESMS²: none twice for the two exhibits
    for name in ("figure_7.csv", "table_v.csv"):
        text = (killed / "report" / name).read_text()
        assert text == (peace / "report" / name).read_text()
        assert text.count("\n") > 10
