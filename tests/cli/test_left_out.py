"""Which model fits which data: what `bench ls` and `bench run` say of it, and the head of a report."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from cli_world import WORLD, Bench
from rich.console import Console

from bench.cli._fits import FITS, fit_tables
from bench.core.registry import MODELS, SOURCES
from bench.data.tables import FACTS, MANIFEST

NO_CARTS = {"cart": "has no carts"}


def cells(lacks: Mapping[str, Mapping[str, str]], width: int) -> dict[str, dict[str, str]]:
    """What the tables say, by data and model."""
    found = {}
    for table in fit_tables(MODELS.all(), lacks, width):
        models, *columns = table.columns
        for column in columns:
            found[str(column.header).replace("\n", "_")] = dict(
                zip(map(str, models.cells), map(str, column.cells), strict=True)
            )
    return found


@pytest.mark.parametrize("width", [80, 200])
def test_every_model_fits_the_data_that_lack_nothing_that_it_needs(width: int) -> None:
    lacks = {name: source.lacks for name, source in SOURCES.all().items()}
    lacks |= {"three_less": {"search": "a", "visit": "b", "cart": "c"}, "other_wishes": {"wish": "has no wishes"}}
    found = cells(lacks, width)
    assert set(found) == lacks.keys()
    for name, of_data in found.items():
        assert list(of_data) == MODELS.names()
        for model, cell in of_data.items():
            missing = set(MODELS.get(model).needs) & set(lacks[name])
            assert cell in (missing or {FITS}), (name, model)
    assert set(found["other_wishes"].values()) == {FITS}
    assert found["three_less"]["esmc2"] == "cart"  # the first


def test_many_data_are_readable_on_a_narrow_console() -> None:
    names = (
        "six_cities", "ecommerce", "ga360", "cikm19_taobao", "ali_ccp", "aliexpress", "taobao_ads", "rees46",
        "retailrocket", "jdsearch", "my_shop",
    )  # fmt: skip
    lacks = {name: {"search": "has no search", "purchase": "has none"} for name in names}
    console = Console(width=80, file=io.StringIO(), record=True)
    tables = list(fit_tables(MODELS.all(), lacks, console.width))
    for table in tables:
        console.print(table)
    text = console.export_text()
    assert "…" not in text
    assert len(tables) == 2
    assert text.count("purchase") == len(names) * len(MODELS.names())
    assert all(part in text.split() for name in names for part in name.split("_"))
    assert len(list(fit_tables(MODELS.all(), lacks, 200))) == 1


def test_ls_shows_imported_logs_and_what_they_cannot_supply(bench: Bench) -> None:
    manifest = {
        "dataset": "shop", "city": "all", "fingerprint": "f", "origin": "log", "features": [],
        "counts": {"exposures": 12345}, "time_range": [0, 1], "split_range": {}, "settings": {},
        "lacks": {"visit": "has one visit of a user"},
    }  # fmt: skip
    for name, text in (("shop", json.dumps(manifest)), ("torn", "{")):
        folder = Path("runs/data/logs") / name
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text(text)
    said = bench("ls")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert "shop imported log of 12,345 exposures" in lines
    assert "shop visit: the log has one visit of a user" in lines
    assert any(line.startswith("broken log") and "torn" in line for line in lines)
    rows = [line.split()[1:] for line in lines if line.startswith("esms ")]
    fits = [cell for row in rows for cell in row if {*row} <= {FITS, *FACTS}]
    assert len(fits) == len({*SOURCES.names(), "shop"} - {"tables"})
    assert fits[-1] == "visit"


def test_a_dry_run_tells_what_is_left_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SOURCES.get("six_cities"), "lacks", NO_CARTS)
    said = bench("run", "--cities", "6", "--models", "esmm,esmc", "--seeds", "1", "--dry-run", *WORLD)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0] == "left out: esmc on city 6: it needs cart labels (the log has no carts)"
    assert said.out.endswith("1 cells, 0 of them stored\n")


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_run_of_which_nothing_is_left_is_refused_before_anything_is_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, dry: tuple[str, ...]
) -> None:
    monkeypatch.setattr(SOURCES.get("six_cities"), "lacks", NO_CARTS)
    said = bench("run", "--cities", "5,6", "--models", "esmc", *dry, *WORLD)
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "error: a run needs a model that fits the data, but none does: esmc on city 5: it needs cart labels (the log "
        "has no carts) (and 1 more); take other --models or --data, `bench ls` shows which fit.\n"
    )
    assert list(Path().iterdir()) == []


def test_labels_are_counted_once_the_data_are_there(bench: Bench, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS.get("mmoe"), "needs", ("click", "gift"))
    reason = "gift labels (the log has none in its training rows)"
    said = bench("run", "--cities", "6", "--models", "mmoe", "--out", out, *WORLD)
    assert said.code == 2
    assert f"but none does: mmoe on city 6: it needs {reason}; take other --models" in said.err
    assert bench("report", "--out", out, "--exhibits", "cost").code == 0
    text = (out / "report" / "report.md").read_text()
    assert f"- six_cities-x0.0001: MMoE needs {reason}\n" in text
