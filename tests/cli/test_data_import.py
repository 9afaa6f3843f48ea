"""``bench data import``: stored once, complete or not at all, the same bytes each time; and then a dataset like any."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import duckdb
import pytest
from cli_world import Bench, start
from test_interrupt import wait_for

from bench.core import publish
from bench.core.publish import checksum

SPEC = """\
name = "shop"
shape = "events"
files = ["log.csv"]
time_zone = "UTC"

[columns]
user = "user"
item = "item"
time = "time"
action = "event"

[actions]
view = ["view"]
click = ["click"]
cart = ["cart"]
purchase = ["buy"]

[splits]
valid_from = 2026-03-05
test_from = 2026-03-06
"""


def write_log(folder: Path, days: int = 6, users: int = 6) -> Path:
    """A log and its specification; every user comes back every day, and buys what was carted the day before."""
    lines = ["user,item,time,event"]
    for day in range(2, 2 + days):
        for user in range(users):
            for item in range(4):
                at = f"2026-03-{day:02d} 10:{user:02d}:1"
                lines.append(f"{user},{item},{at}{item},view")
                if (user + item + day) % 2:
                    lines.append(f"{user},{item},{at}{item + 5},click")
                    lines.append(f"{user},{item},{at}{item + 6},{'cart' if (day + user) % 3 else 'buy'}")
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    (folder / "shop.toml").write_text(SPEC)
    return folder / "shop.toml"


def write_large(folder: Path, rows: int) -> None:
    """A log of views that takes some seconds, and its specification."""
    columns = "i % 50000 AS user, i % 97 AS item, 1772409600 + i % 600000 AS time, 'view' AS event"
    duckdb.sql(f"COPY (SELECT {columns} FROM range({rows}) t(i)) TO '{folder / 'log.parquet'}'")
    (folder / "shop.toml").write_text(SPEC.replace("log.csv", "log.parquet"))


def stored(out: Path = Path("runs")) -> dict[str, str]:
    return {path.name: checksum(path) for path in (out / "data/logs/shop").iterdir()}


def test_an_import_is_stored_once(bench: Bench) -> None:
    spec = write_log(Path())
    said = bench("data", "import", "--spec", spec)
    assert (said.code, said.err) == (0, "")
    assert "exposures" in said.out and "note: The log has no exposures" in said.out and "lacks wish" in said.out
    first, when = stored(), Path("runs/data/logs/shop/manifest.json").stat().st_mtime_ns
    said = bench("data", "import", "--spec", spec)
    assert said.code == 0 and said.out.startswith("shop is imported already")
    assert Path("runs/data/logs/shop/manifest.json").stat().st_mtime_ns == when
    assert bench("data", "import", "--spec", spec, "--out", "other").code == 0
    assert stored(Path("other")) == first
    assert [path.name for path in Path("runs/data/logs").iterdir()] == ["shop"]


def test_another_log_of_that_name_needs_replace(bench: Bench) -> None:
    spec = write_log(Path())
    bench("data", "import", "--spec", spec)
    first = stored()
    write_log(Path(), users=7)
    said = bench("data", "import", "--spec", spec)
    assert said.code == 2 and "an import called 'shop' is in runs/data/logs/shop already" in said.err
    assert stored() == first
    assert bench("data", "import", "--spec", spec, "--replace").code == 0
    assert stored() != first
    assert [path.name for path in Path("runs/data/logs").iterdir()] == ["shop"]


def test_a_replacement_that_cannot_be_stored_leaves_the_old_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = write_log(Path())
    bench("data", "import", "--spec", spec)
    first = stored()

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(publish, "_sync", full)
    said = bench("data", "import", "--spec", spec, "--replace")
    assert said.code != 0 and "No space left" in said.err
    assert stored() == first
    assert [path.name for path in Path("runs/data/logs").iterdir()] == ["shop"]


def test_a_log_that_cannot_be_imported_leaves_nothing(bench: Bench) -> None:
    spec = write_log(Path())
    with Path("log.csv").open("a") as file:
        file.write("1,2,2026-03-05 10:00:00,likes\n")
    said = bench("data", "import", "--spec", spec)
    lines = len(Path("log.csv").read_text().splitlines())
    assert said.code == 2 and f"log.csv line {lines}: column 'event' must be one of" in said.err
    assert list(Path("runs/data/logs").iterdir()) == []


def test_wrong_usage(bench: Bench) -> None:
    spec = write_log(Path())
    assert "--memory must be a size such as 2GB" in bench("data", "import", "--spec", spec, "--memory", "much").err
    assert "cannot be read" in bench("data", "import", "--spec", "none.toml").err
    spec.write_text(SPEC.replace('"shop"', '"ga360"'))
    assert "name must be none of the datasets" in bench("data", "import", "--spec", spec).err
    said = bench("run", "--data", "shpo", "--models", "esmm")
    assert said.code == 2 and "unknown dataset 'shpo'" in said.err
    spec.write_text(SPEC)
    bench("data", "import", "--spec", spec)
    assert "Did you mean 'shop'?" in bench("run", "--data", "shpo", "--models", "esmm").err


@pytest.mark.slow
def test_an_import_is_a_dataset(bench: Bench) -> None:
    bench("data", "import", "--spec", write_log(Path()))
    arguments = ("--models", "esmm,esmc", "--seeds", "1", "--wandb", "off")
    said = bench("run", "--data", "shop", *arguments)
    assert (said.code, said.err) == (0, ""), said
    assert "2 cells trained" in said.out
    again = bench("run", "--data", "runs/data/logs/shop", *arguments)
    assert "2 of 2 cells are stored already" in again.out
    calibrated = bench("data", "calibrate", "runs/data/logs/shop", "--to", "moved")
    assert calibrated.code == 0
    changed = duckdb.sql(
        "SELECT count(*) FROM 'moved/exposures.parquet' a JOIN 'runs/data/logs/shop/exposures.parquet' b "
        "USING (exposure) WHERE a.cart > b.cart"
    ).fetchall()[0][0]
    assert changed > 0
    assert bench("run", "--data", "moved", "--models", "esmm", "--seeds", "1", "--wandb", "off").code == 0
    report = bench("report")
    assert report.code == 0
    text = Path("runs/report/report.md").read_text()
    assert "cannot be imported" not in text and "failed:" not in text
    assert "The log has no exposures: the exposure space is its views" in text
    assert bench("check").code == 0


@pytest.mark.slow
def test_a_killed_import_leaves_nothing_that_counts(bench: Bench) -> None:
    write_large(Path(), 3000000)
    here = Path.cwd()
    process = start("data", "import", "--spec", here / "shop.toml", "--out", here / "killed")
    wait_for(
        lambda: bool(list(here.glob("killed/data/logs/.staging-*/staging/shards/*"))) or process.poll() is not None
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    left = {path.name for path in (here / "killed/data/logs").iterdir()}
    assert left and all(name.startswith(".staging-") for name in left)
    assert "unknown dataset" in bench("run", "--data", "shop", "--out", "killed", "--models", "esmm").err
    for out in ("killed", "whole"):
        assert bench("data", "import", "--spec", "shop.toml", "--out", out).code == 0
    assert stored(Path("killed")) == stored(Path("whole"))
    assert [path.name for path in (here / "killed/data/logs").iterdir()] == ["shop"]


@pytest.mark.slow
def test_ctrl_c_stops_an_import_with_one_line(tmp_path: Path) -> None:
    write_large(tmp_path, 6000000)
    process = start("data", "import", "--spec", tmp_path / "shop.toml", "--out", tmp_path / "out")
    wait_for(lambda: bool(list(tmp_path.glob("out/data/logs/.staging-*/staging"))) or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.strip()) == (130, "stopped.")
    assert list((tmp_path / "out/data/logs").iterdir()) == []
