"""A folder under its final name is complete; nothing else remains, whatever went wrong."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.core.publish import alone, checksum, ensure_folder, publishing, sweep_staging, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with publishing(tmp_path / "deep" / "final") as staging:
        (staging / "sub").mkdir()
        (staging / "sub" / "file").write_text("x")
        assert not (tmp_path / "deep" / "final").exists()
    assert (tmp_path / "deep" / "final" / "sub" / "file").read_text() == "x"
    assert names(tmp_path / "deep") == ["final"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_of_what_failed(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), publishing(tmp_path / "final") as staging:
        (staging / "file").write_text("x")
        raise error
    assert names(tmp_path) == []


def test_the_first_of_two_publishers_wins(tmp_path: Path) -> None:
    with publishing(tmp_path / "final") as slow:
        (slow / "file").write_text("slow")
        with publishing(tmp_path / "final") as fast:
            (fast / "file").write_text("fast")
    assert (tmp_path / "final" / "file").read_text() == "fast"
    assert names(tmp_path) == ["final"]


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "final").write_text("a file")
    with pytest.raises(OSError, match="final"), publishing(tmp_path / "final"):
        pass
    assert names(tmp_path) == ["final"]


def test_only_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    for name in (f".staging-{dead_process()}-ab", f".staging-{os.getpid()}-cd", ".staging-other", "staging"):
        (tmp_path / "cells" / name).mkdir()
        (tmp_path / "cells" / name / "file").touch()
    assert sweep_staging(tmp_path) == 1
    assert names(tmp_path / "cells") == [f".staging-{os.getpid()}-cd", ".staging-other", "staging"]
    assert sweep_staging(tmp_path / "missing") == 0


def test_what_another_machine_left_is_swept_after_a_week(tmp_path: Path) -> None:
    """Its process ids are not ours: one that is dead here may be at work there."""
    week = 7 * 24 * 3600
    for name, age in (("busy", week - 60), ("left", week + 60)):
        folder = tmp_path / f".staging-{dead_process()}-0a1b2c3d-{name}"
        folder.mkdir()
        os.utime(folder, (0, time.time() - age))
    with publishing(tmp_path / "final") as ours:
        pid, *rest = ours.name.removeprefix(".staging-").split("-")
        assert pid == str(os.getpid())
        (tmp_path / "-".join([".staging", str(dead_process()), *rest])).mkdir()
        assert sweep_staging(tmp_path) == 2
        assert {name.split("-")[-1] for name in names(tmp_path)} == {"busy", rest[-1]}
        assert ours.is_dir()


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    write_atomically(path, "néw")
    assert path.read_text(encoding="utf-8") == "néw"
    assert names(tmp_path) == ["file"]


def test_a_file_that_cannot_be_written_keeps_its_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_an_output_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    assert names(ensure_folder(tmp_path / "a" / "b")) == []


@pytest.mark.parametrize("below", ["file", "file/folder"])
def test_an_output_folder_that_cannot_be_written_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"must be writable, but .*; choose another with --out"):
        ensure_folder(tmp_path / below)


def _try_lock(lock: Path) -> str:
    try:
        with alone(lock, "bench tune"):
            return "held"
    except UserError as error:
        return str(error)


def test_one_process_holds_a_lock_until_it_ends(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with alone(lock, "bench tune"):
            assert "only one bench tune may run" in pool.apply(_try_lock, (lock,))
        assert pool.apply(_try_lock, (lock,)) == "held"
    script = f"import fcntl, os; fcntl.flock(open({str(lock)!r}, 'a'), fcntl.LOCK_EX); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script], check=False)
    assert _try_lock(lock) == "held"


def test_a_checksum_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert checksum(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()
