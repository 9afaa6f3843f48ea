"""`bench ls`, `status`, `check` and `report`."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from cli_world import Bench, files

from bench.core.registry import EXHIBITS, MODELS, SOURCES


def test_ls_shows_everything_that_can_be_run(bench: Bench, trained: Path) -> None:
    said = bench("ls", "--out", trained)
    assert (said.code, said.err) == (0, "")
    for registry in (MODELS, SOURCES, EXHIBITS):
        assert all(re.search(rf"^ +{name} ", said.out, re.MULTILINE) for name in registry.names())
    assert "constraint_weight" in said.out
    assert "4 cells (six_cities-x0.0001), 0 failed, 0 damaged" in said.out.splitlines()[-1]


def test_nothing_is_made_by_looking(bench: Bench) -> None:
    assert "0 cells, 0 failed, 0 damaged" in bench("ls").out
    assert bench("status").out == "nothing is stored or planned in runs; start with: bench run --all-cities\n"
    said = bench("check")
    assert said.code == 0
    assert said.out.endswith("0 stored cells and 0 data folders checked in runs\nall intact\n")
    assert list(Path().iterdir()) == []


def test_status_tells_what_is_missing(bench: Bench, out: Path) -> None:
    assert re.search(r"six_cities-x0.0001 │ 6 +│ 4 +│ 0 +│ 0 ", bench("status", "--out", out).out)
    cell = sorted(path for path in (out / "cells").iterdir())[0]
    cell.rename(out / "moved")
    assert re.search(r"six_cities-x0.0001 │ 6 +│ 3 +│ 0 +│ 1 ", bench("status", "--out", out).out)
    (out / "moved" / "record.json").write_text("{")
    (out / "moved").rename(cell)
    said = bench("status", "--out", out)
    assert re.search(r"damaged \S+record.json must be a record, but it is truncated", said.out)


def test_check_finds_what_is_stored_intact(bench: Bench, trained: Path) -> None:
    said = bench("check", "--out", trained)
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith(f"4 stored cells and 2 data folders checked in {trained}\nall intact\n")


@pytest.mark.parametrize(
    "pattern",
    [
        "cells/*/record.json",
        "cells/*/predictions.parquet",
        "cells/*/model.safetensors",
        "data/tables/*/events.parquet",
        "data/encoded/*/event_time.npy",
    ],
)
def test_check_finds_a_flipped_byte(bench: Bench, out: Path, pattern: str) -> None:
    path = sorted(out.glob(pattern))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    said = bench("check", "--out", out)
    assert (said.code, said.err) == (1, "")
    findings = [line for line in said.out.splitlines() if line.startswith("✗")]
    assert len(findings) == 1
    assert str(path.parent) in findings[0]
    assert path.name in findings[0]
    assert said.out.endswith("1 finding(s)\n")


def test_a_report_is_made_of_what_is_stored(bench: Bench, out: Path) -> None:
    said = bench("report", "--out", out)
    assert (said.code, said.err) == (0, "")
    assert said.out == f"report: {out}/report/report.md\n"
    text = (out / "report" / "report.md").read_text()
    assert "failed:" not in text
    for kind in EXHIBITS.all().values():
        assert (f"### {kind.title}\n" in text) == (kind.paper in (None, "esmc"))
    with (out / "report" / "table_iv.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {"shared_bottom", "esmm", "esmc", "esms"}
    assert bench("report", "--out", out).code == 0  # an earlier report makes way


def test_a_report_half_way_tells_what_is_missing(bench: Bench, out: Path) -> None:
    for cell in (out / "cells").iterdir():
        if json.loads((cell / "record.json").read_text())["cell"]["model"] in ("esmc", "esms"):
            cell.rename(out / cell.name)
    before = files(out / "cells")
    assert bench("report", "--out", out, "--to", "elsewhere", "--exhibits", "table_iv,cost").code == 0
    text = Path("elsewhere/report.md").read_text()
    assert "2 stored cells" in text
    assert "2 missing" in text
    assert {path.name for path in Path("elsewhere").iterdir()} == {"report.md", "table_iv.csv", "cost.csv"}
    assert files(out / "cells") == before


def test_help_of_every_command_has_examples(bench: Bench) -> None:
    said = bench("--help")
    commands = re.findall(r"^│ (\w+)  ", said.out, re.MULTILINE)
    assert commands == ["check", "ls", "report", "run", "status", "tune", "data"]
    of_data = re.findall(r"^│ (\w[\w-]*)  ", bench("data", "--help").out, re.MULTILINE)
    assert {"calibrate", "import"} <= set(of_data)
    for name in (*commands[:-1], *(f"data {each}" for each in of_data)):
        said = bench(*name.split(), "--help")
        assert said.code == 0
        assert "Example" in said.out
        assert f"bench {name}" in said.out


def test_options_are_the_same_in_all_commands(bench: Bench) -> None:
    for name in ("run", "tune"):
        said = bench(name, "--help")
        for option in (
            "--data",
            "--data-dir",
            "--scale",
            "--data-seed",
            "--preset",
            "--set",
            "--out",
            "--jobs",
            "--wandb",
        ):
            assert option in said.out
