"""``bench data describe`` and ``bench data check``."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_world import Bench, files

from bench.data.describe import describe as module
from bench.data.source import SourceOptions
from bench.data.sources.six_cities import SixCities
from bench.data.tables import read_manifest, table_path, write_manifest

FILES = {"description.md", "description.json", "days.png", "hours.png", "spreads.png", "carts.png"}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """City 6 at a ten-thousandth of its size; tests may read it only."""
    folder = tmp_path_factory.mktemp("data") / "tables"
    folder.mkdir()
    SixCities(SourceOptions(scale=0.0001)).write("6", folder)
    return folder


@pytest.fixture
def broken(tables: Path, tmp_path: Path) -> Path:
    """The same with two clicks that are 2, a cart without a click, and a manifest that fits."""
    folder = tmp_path / "broken"
    shutil.copytree(tables, folder)
    rows = pq.read_table(table_path(folder, "exposures"))
    index = rows.column_names.index("click")
    click = rows["click"].to_pylist()
    labels = zip(rows["cart"].to_pylist(), rows["purchase"].to_pylist(), rows["wish"].to_pylist(), strict=True)
    cart = next(row for row, of in enumerate(labels) if of == (1, 0, 0))
    click[5], click[7], click[cart] = 2, 2, 0
    rows = rows.set_column(index, rows.schema.field(index), pa.array(click, rows.schema.field(index).type))
    pq.write_table(rows, table_path(folder, "exposures"))
    write_manifest(folder, read_manifest(folder).model_copy(update={"counts": {}}))
    return folder


def refused(bench: Bench, message: str, *arguments: str | Path) -> None:
    """The command is refused on one line, and makes nothing in the empty folder in which it runs."""
    before = files(Path())
    said = bench("data", *arguments)
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1, said.err
    assert re.search(f"^error: .*{message}", said.err), said.err
    assert files(Path()) == before


def test_a_folder_is_described_as_it_is(bench: Bench, tables: Path) -> None:
    before = files(tables)
    said = bench("data", "describe", tables)
    assert (said.code, said.err) == (0, "")
    assert files(tables) == before
    assert said.out.startswith("six_cities-x0.0001, city 6\nA simulated log: 18,400 exposures of 20 items to 98 users")
    folder = Path("runs/describe/six_cities-x0.0001-6")
    assert said.out.endswith(f"nothing suspicious; description: {folder}/description.md\n")
    assert {path.name for path in folder.iterdir()} == FILES
    assert [str(path) for path in Path("runs").rglob("*") if path.is_dir()] == ["runs/describe", str(folder)]
    numbers = json.loads((folder / "description.json").read_text())
    assert numbers["splits"]["all"]["exposures"] == 18_400
    first = files(folder)
    assert bench("data", "describe", tables).out == said.out
    assert {name: data for name, (_, data) in files(folder).items()} == {
        name: data for name, (_, data) in first.items()
    }


def test_a_dataset_is_made_and_an_imported_log_is_found(bench: Bench, tables: Path) -> None:
    said = bench("data", "describe", "six_cities", "--city", "6", "--scale", "0.0001", "--to", "here", "--out", "out")
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith("description: here/description.md\n")
    made = list(Path("out/data/tables").iterdir())
    assert [path.name for path in made] == [read_manifest(tables).fingerprint]
    shutil.copytree(tables, "out/data/logs/mine")
    assert bench("data", "describe", "mine", "--to", "there", "--out", "out").code == 0
    assert bench("data", "check", "mine", "--out", "out") == (0, "all well in out/data/logs/mine\n", "")
    assert {name: data for name, (_, data) in files(Path("here")).items()} == {
        name: data for name, (_, data) in files(Path("there")).items()
    }
    checked = bench("data", "check", "six_cities", "--city", "6", "--scale", "0.0001", "--out", "out")
    assert checked == (0, f"all well in {made[0]}\n", "")


def test_cities_below_a_folder_are_chosen(bench: Bench, tables: Path, broken: Path) -> None:
    shutil.copytree(tables, "all/6")
    shutil.copytree(broken, "all/5")
    manifest = read_manifest(Path("all/5"))
    write_manifest(Path("all/5"), manifest.model_copy(update={"city": "5"}))
    refused(bench, "say which city of all: --city with one of 5, 6", "describe", "all")
    refused(bench, "unknown city '7'", "describe", "all", "--city", "7")
    refused(bench, "unknown city '7'", "describe", "all/6", "--city", "7")
    assert bench("data", "check", "all", "--city", "6") == (0, "all well in all/6\n", "")
    said = bench("data", "check", "all")
    assert said.code == 1
    assert said.out.endswith("2 problem(s) in all/5, all/6\n")


def test_what_cannot_be_described_is_refused(bench: Bench, tables: Path, tmp_path: Path) -> None:
    refused(bench, "unknown dataset 'six_citys'. Did you mean 'six_cities'", "describe", "six_citys")
    refused(bench, "say which city of six_cities: --city with one of 1, 2, 3", "describe", "six_cities")
    (tmp_path / "empty").mkdir()
    refused(bench, "must hold funnel tables, but it has no manifest.json", "describe", tmp_path / "empty")
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("mine")
    refused(
        bench, "mine must be a description or empty, but is or holds thesis.txt", "describe", tables, "--to", "mine"
    )
    Path("file").write_text("mine")
    refused(bench, "needs a folder that can be made, but file/new cannot", "describe", tables, "--to", "file/new")
    shutil.copytree(tables, tmp_path / "short")
    path = table_path(tmp_path / "short", "exposures")
    path.write_bytes(path.read_bytes()[:-9])
    refused(bench, "exposures.parquet must be readable Parquet", "describe", tmp_path / "short")


def test_ctrl_c_leaves_nothing(bench: Bench, tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr(module, "columns_of", interrupted)
    assert bench("data", "describe", tables) == (130, "", "stopped.\n")
    assert files(Path()) == {}


def test_problems_are_listed_one_a_line(bench: Bench, broken: Path) -> None:
    said = bench("data", "check", broken)
    assert (said.code, said.err) == (1, "")
    first, second, last = said.out.splitlines()
    assert first == (
        f"✗ {broken}: exposures.parquet: click must be 0 or 1, but 2 rows differ, the first is row 5; store 0 and 1, "
        "also where nothing happened"
    )
    assert "exposures.parquet: cart must be 0 without a click, but 1 rows differ" in second
    assert second.endswith("; set its click to 1, or leave the action to the events")
    assert last == f"2 problem(s) in {broken}"


def test_more_shows_bad_rows(bench: Bench, broken: Path) -> None:
    said = bench("data", "check", broken, "--more", "1").out.splitlines()
    assert len(said) == 5
    assert re.match(r"    row 5: click 2, exposure 5, user \d+, item \d+, visit \d+, time \d+, split train$", said[1])
    assert re.match(r"    row \d+: cart 1, exposure", said[3])
    both = bench("data", "check", broken, "--more", "9").out.splitlines()
    assert [line[:9] for line in both if line.startswith("    row ")][:2] == ["    row 5", "    row 7"]


def test_a_folder_that_is_none_is_checked_too(bench: Bench, tmp_path: Path) -> None:
    said = bench("data", "check", tmp_path)
    assert said.code == 1
    assert "has no manifest.json" in said.out
    refused(bench, "unknown dataset 'nothing'", "check", "nothing")
