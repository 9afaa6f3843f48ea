"""``bench data calibrate``, and groups of commands."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from cli_world import Bench, files, start

from bench.cli import main
from bench.data import calibrate as module
from bench.data.checks import check_tables
from bench.data.source import SourceOptions
from bench.data.sources.six_cities import SixCities
from bench.data.tables import read_manifest


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """City 6 at a ten-thousandth of its size; tests may read it only."""
    folder = tmp_path_factory.mktemp("data") / "tables"
    folder.mkdir()
    SixCities(SourceOptions(scale=0.0001)).write("6", folder)
    return folder


def refused(bench: Bench, message: str, *arguments: str | Path) -> None:
    """The command is refused on one line, and makes nothing in the empty folder in which it runs."""
    before = files(Path())
    said = bench("data", "calibrate", *arguments)
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1, said.err
    assert re.search(f"^error: .*{message}", said.err), said.err
    assert files(Path()) == before
    assert not list(Path().rglob(".staging-*"))


@pytest.mark.parametrize(("mode", "domain"), [("copy", "recommendation"), ("move", "global")])
def test_it_publishes_calibrated_tables_and_prints_what_changed(
    bench: Bench, tables: Path, mode: str, domain: str
) -> None:
    before = files(tables)
    options = () if mode == "copy" else ("--mode", mode, "--domain", domain, "--window-days", "4")
    said = bench("data", "calibrate", tables, "--to", "new/tables", *options)
    assert (said.code, said.err) == (0, "")
    assert files(tables) == before
    assert check_tables(Path("new/tables")) == []
    assert [path.name for path in Path("new").iterdir()] == ["tables"]
    found = read_manifest(Path("new/tables")).settings["calibration"]
    window_days = None if mode == "copy" else 4.0
    summary = found.pop("summary")
    assert found == {"mode": mode, "domain": domain, "window_days": window_days}
    assert summary["matched"] > 0
    assert summary["unmatched"] > 0
    shown = {
        line.split("│")[1].strip(): line.split("│")[2].strip() for line in said.out.splitlines() if line.startswith("│")
    }
    assert shown == {
        "bad cases: purchases without a cart in their visit": str(summary["bad_cases"]),
        "matched with an earlier cart": str(summary["matched"]),
        "from recommendation": str(summary["matched_by_domain"]["recommendation"]),
        "from search": str(summary["matched_by_domain"]["search"]),
        "carts without an exposure row": str(summary["matched_without_exposure"]),
        "unmatched": str(summary["unmatched"]),
        f"labels changed ({mode})": str(summary["changed"][mode]),
        "median days from cart to purchase": f"{summary['median_days']:.1f}",
    }
    assert domain in said.out
    assert said.out.endswith("next: bench run --data new/tables\n")
    again = bench("data", "calibrate", tables, "--to", "again", *options)
    assert again.out == said.out.replace("new/tables", "again")
    contents = [{name: data for name, (_, data) in files(Path(folder)).items()} for folder in ("new/tables", "again")]
    assert contents[0] == contents[1]


def test_an_empty_folder_is_filled(bench: Bench, tables: Path) -> None:
    Path("empty").mkdir()
    assert bench("data", "calibrate", tables, "--to", "empty").code == 0
    assert check_tables(Path("empty")) == []


def test_an_imported_log_is_taken_by_its_name(bench: Bench, tables: Path) -> None:
    shutil.copytree(tables, "out/data/logs/mine")
    assert bench("data", "calibrate", "mine", "--to", "new", "--out", "out").code == 0
    assert read_manifest(Path("new")).settings["calibration"]["mode"] == "copy"
    said = bench("data", "describe", "new", "--out", "out")
    assert said.out.splitlines()[0] == "six_cities-x0.0001-calibrated, city 6"
    assert said.out.endswith("description: out/describe/six_cities-x0.0001-calibrated-6/description.md\n")


def test_wrong_words_are_refused(bench: Bench, tables: Path) -> None:
    refused(bench, "the mode must be copy or move, but got 'none'", tables, "--to", "new", "--mode", "none")
    refused(bench, "the domain must be recommendation or global", tables, "--to", "new", "--domain", "all")
    for days in ("0", "-2", "nan"):
        refused(bench, "must be a number of days above 0", tables, "--to", "new", "--window-days", days)


def test_wrong_folders_are_refused(bench: Bench, tables: Path) -> None:
    none = "must be a folder of funnel tables with a manifest.json, but"
    refused(bench, f"missing {none} it has none", "missing", "--to", "new")
    refused(bench, f"{none} these lie below it: tables; name one", tables.parent, "--to", "new")
    refused(bench, "the new tables must lie outside of", tables, "--to", tables / "new")
    refused(bench, "the new tables must lie outside of", tables, "--to", tables)
    assert not (tables / "new").exists()
    Path("file").write_text("mine")
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("mine")
    refused(bench, f"file {none} it has none", "file", "--to", "new")
    refused(bench, "need a new or empty folder, but mine holds files; name another", tables, "--to", "mine")
    refused(bench, "need a new or empty folder, but file is a file; name another", tables, "--to", "file")
    refused(bench, "--to needs a folder that can be made, but file/new cannot", tables, "--to", "file/new")


def test_calibrated_and_damaged_tables_are_refused(bench: Bench, tables: Path) -> None:
    assert bench("data", "calibrate", tables, "--to", "once").code == 0
    refused(bench, "once must hold the labels of the log, but was calibrated already", "once", "--to", "twice")
    shutil.copytree(tables, "damaged")
    path = Path("damaged/events.parquet")
    path.write_bytes(path.read_bytes()[:1000])
    refused(bench, "damaged: events.parquet must have the checksum of the manifest", "damaged", "--to", "new")
    manifest = json.loads(Path("damaged/manifest.json").read_text())
    manifest["features"].append({"name": "cart", "table": "exposures"})
    Path("damaged/manifest.json").write_text(json.dumps(manifest))
    refused(bench, "features must not tell the label, but 'cart'", "damaged", "--to", "new")


@pytest.mark.parametrize("wrong", [[], ["--to", "new"], ["x", "--to", "new", "--window-days", "long"]])
def test_wrong_usage_is_explained(bench: Bench, wrong: list[str]) -> None:
    said = bench("data", "calibrate", *wrong)
    assert said.code == 2
    assert "Usage: bench data calibrate" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
def test_ctrl_c_stops_it_and_leaves_nothing(
    bench: Bench, tables: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    """DuckDB has its own word for Ctrl-C."""

    def interrupted(_: Path, out: Path, **options: object) -> None:
        (out / "half").write_text("half")
        raise stop

    monkeypatch.setattr(module, "calibrate", interrupted)
    said = bench("data", "calibrate", tables, "--to", "new")
    assert said == (130, "", "stopped.\n")
    assert list(Path().iterdir()) == []


def test_an_error_of_ours_is_not_taken_for_ctrl_c(bench: Bench, tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(module, "calibrate", broken)
    with pytest.raises(RuntimeError, match="broken"):
        bench("data", "calibrate", tables, "--to", "new")
    assert list(Path().iterdir()) == []


def test_a_killed_process_leaves_no_folder_of_that_name(tables: Path, tmp_path: Path, bench: Bench) -> None:
    process = start("data", "calibrate", tables, "--to", tmp_path / "new")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".staging-*")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not (tmp_path / "new").exists()
    assert bench("data", "calibrate", tables, "--to", tmp_path / "new").code == 0
    assert check_tables(tmp_path / "new") == []


def test_help_shows_groups_commands_and_examples(bench: Bench) -> None:
    above, group, command = (bench(*words, "--help").out for words in ((), ("data",), ("data", "calibrate")))
    assert re.search(r"│ data +Import, describe, check and calibrate logs", above)
    assert re.search(r"│ run +Train models", above)
    assert "Usage: bench data " in group
    assert "Import, describe, check and calibrate logs, as folders of funnel tables." in group
    assert re.search(r"│ calibrate +Give purchases", group)
    assert "Examples:" in command
    assert command.count("bench data calibrate runs/data/tables/FINGERPRINT --to") == 2


def test_a_file_is_a_command_and_a_folder_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "shop_of_commands" / "till"
    deep.mkdir(parents=True)
    (deep.parent / "__init__.py").write_text("")
    (deep.parent / "sell.py").write_text("def sell() -> None:\n    print('sold')\n")
    (deep.parent / "_tools.py").write_text("raise ImportError\n")
    (deep / "__init__.py").write_text('"""Count money."""\n')
    (deep / "count.py").write_text("def count(coins: int) -> None:\n    print(f'{coins} coins')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import shop_of_commands  # type: ignore[import-not-found]
    from typer.testing import CliRunner

    app = main._group(shop_of_commands, "shop", "A shop.")
    run = CliRunner().invoke
    assert run(app, ["sell"]).output == "sold\n"
    assert run(app, ["till", "count", "3"]).output == "3 coins\n"
    assert "Count money." in run(app, ["--help"]).output
    assert "_tools" not in run(app, ["--help"]).output
    for name in [name for name in sys.modules if name.startswith("shop_of_commands")]:
        del sys.modules[name]
