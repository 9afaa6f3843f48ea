"""What ``bench run`` is asked for: grids, worlds and the cells of exhibits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_world import WORLD, Bench

from bench.cli._requests import exhibit_names, grid, of_exhibits
from bench.core.config import Config
from bench.core.errors import UserError
from bench.core.registry import EXHIBITS, SOURCES
from bench.data.source import Source, SourceOptions
from bench.data.sources.six_cities import SixCities
from bench.results.store import Store
from bench.runner import run as runner
from bench.runner.plan import plan
from bench.runner.prepare import open_source
from reports.exhibit import DATASETS, HERE, Demand, World


@pytest.fixture
def _three_exhibits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    weights = tuple({"constraint_weight": weight} for weight in (0.05, 0.5))
    kinds: dict[str, Any] = {
        "sweep": SimpleNamespace(paper="esmc", demands=(Demand(("esmc",), weights, ("6",)),)),
        "worlds": SimpleNamespace(
            paper="esmc",
            demands=(Demand(("esmm", "esmc"), cities=("5", "6"), worlds=(HERE, World({"bad_case_share": 0.4}, 0.5))),),
        ),
        "idle": SimpleNamespace(paper="esmc", demands=()),
    }
    monkeypatch.setattr(EXHIBITS, "all", lambda: kinds)
    monkeypatch.setattr(EXHIBITS, "names", lambda: sorted(kinds))
    monkeypatch.setattr(EXHIBITS, "get", kinds.__getitem__)
    yield


@pytest.fixture
def source() -> Source:
    return open_source("six_cities", SourceOptions(scale=0.0001))


def test_a_grid_is_the_product_of_its_axes() -> None:
    configs = grid(Config(dropout=0.1), ["constraint_weight=0, 0.5", "constraint=gaussian,softmax"])
    assert [(c.constraint_weight, c.constraint, c.dropout) for c in configs] == [
        (0.0, "gaussian", 0.1), (0.0, "softmax", 0.1), (0.5, "gaussian", 0.1), (0.5, "softmax", 0.1)
    ]  # fmt: skip
    assert grid(Config(), []) == [Config()]


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        (["dropout"], "--grid needs knob=value,value, but got 'dropout'"),
        (["dropout="], "--grid needs knob=value,value"),
        (["drop=1"], "unknown configuration key 'drop'. Did you mean 'dropout'"),
        (["dropout=0.1,2"], "dropout is wrong: input should be less than 1, but got '2'"),
        (["hidden=16,8"], "--grid takes knobs with single values, but hidden is a list"),
        (["dropout=0", "dropout=0.1"], "--grid must name a knob once, but 'dropout' is there twice"),
    ],
)
def test_a_wrong_grid_is_refused(axes: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        grid(Config(), axes)
    assert str(error.value).startswith(said)


@pytest.mark.usefixtures("_three_exhibits")
def test_names_of_exhibits() -> None:
    assert exhibit_names("worlds, sweep,worlds") == ["worlds", "sweep"]
    assert exhibit_names("all-esmc") == ["sweep", "worlds", "idle"]
    for text, said in (
        ("swep", "unknown exhibit 'swep'. Did you mean 'sweep'"),
        ("sweep,idle", "--exhibit needs exhibits that train cells, but idle shows what is stored"),
        (" , ", "--exhibit needs a name, but got none"),
    ):
        with pytest.raises(UserError) as error:
            exhibit_names(text)
        assert str(error.value).startswith(said)


@pytest.mark.usefixtures("_three_exhibits")
def test_exhibits_share_their_cells(source: Source) -> None:
    requests = of_exhibits(["sweep", "worlds"], lambda paper: (source, Config()))
    cells, _ = plan(requests, 1)
    found = sorted((c.dataset, c.city, c.model, c.config.constraint_weight) for c in cells)
    world = "six_cities-x5e-05-bad_case_share0.4"
    assert found == sorted(
        [
            ("six_cities-x0.0001", "5", "esmc", 0.05),
            ("six_cities-x0.0001", "5", "esmm", 0.05),
            ("six_cities-x0.0001", "6", "esmc", 0.05),  # for both exhibits
            ("six_cities-x0.0001", "6", "esmc", 0.5),
            ("six_cities-x0.0001", "6", "esmm", 0.05),
            *((world, city, model, 0.05) for city in "56" for model in ("esmc", "esmm")),
        ]
    )
    assert len({c.fingerprint for c in cells}) == 4
    assert [request.beside for request in requests] == [False, False, True]


@pytest.mark.usefixtures("_three_exhibits")
def test_cities_leave_out_others(source: Source) -> None:
    cells, _ = plan(of_exhibits(["sweep", "worlds"], lambda paper: (source, Config()), ["5"]), 1)
    assert {cell.city for cell in cells} == {"5"}
    with pytest.raises(UserError, match="the exhibits must have cells on the chosen cities, but sweep have none"):
        of_exhibits(["sweep"], lambda paper: (source, Config()), ["1"])
    with pytest.raises(UserError, match="unknown city '7'"):
        of_exhibits(["sweep"], lambda paper: (source, Config()), ["1", "7"])


class Shop(SixCities):
    """Stands for the dataset of another paper."""

    name = "shop"
    default_scale = 0.0002
    preset = "esm2"

    def cities(self) -> list[str]:
        return ["1"]


@pytest.fixture
def _two_papers(_three_exhibits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        EXHIBITS.all(), "top", SimpleNamespace(paper="esm2", demands=(Demand(("esmm",), ({}, {"dropout": 0.2})),))
    )
    monkeypatch.setitem(EXHIBITS.all(), "any", SimpleNamespace(paper=None, demands=(Demand(("mmoe",), cities=("5",)),)))
    monkeypatch.setitem(DATASETS, "esm2", "shop")
    known, names = SOURCES.get, SOURCES.names()
    monkeypatch.setattr(SOURCES, "get", lambda name: Shop if name == "shop" else known(name))
    monkeypatch.setattr(SOURCES, "names", lambda: [*names, "shop"])


def wanted(bench: Bench, *arguments: str) -> set[tuple[str, ...]]:
    """(world, city, model, what differs from the nearest preset) of the cells of a dry run."""
    said = bench("run", "--seeds", "1", "--dry-run", *arguments)
    assert said.code == 0, said
    return set(re.findall(r"to do   [0-9a-f]{32}  (\S+)/(\d) (\w+) seed 0(.*)", said.out))


@pytest.mark.usefixtures("_two_papers")
def test_the_exhibits_of_a_paper_run_on_its_dataset_under_its_preset(bench: Bench) -> None:
    shop = {("shop", "1", "esmm", ""), ("shop", "1", "esmm", " (dropout=0.2)")}
    assert wanted(bench, "--exhibit", "all-esm2") == shop
    both = wanted(bench, "--exhibit", "all-esm2,sweep,any")
    assert both == shop | {
        ("six_cities", "6", "esmc", ""),
        ("six_cities", "6", "esmc", " (constraint_weight=0.5)"),
        ("six_cities", "5", "mmoe", ""),
    }
    assert wanted(bench, "--exhibit", "all-esm2,sweep", "--cities", "6") == {cell for cell in both if cell[1] == "6"}


@pytest.mark.usefixtures("_two_papers")
def test_dataset_scale_and_preset_of_exhibits_can_be_said(bench: Bench) -> None:
    moved = wanted(bench, "--exhibit", "top", "--data", "six_cities", "--cities", "3", "--scale", "0.1")
    assert moved == {("six_cities-x0.1", "3", "esmm", ""), ("six_cities-x0.1", "3", "esmm", " (dropout=0.2)")}
    for data in ("six_cities", "shop"):  # the preset is the paper's on any dataset
        run = ("run", "--exhibit", "top", "--data", data, "--dry-run")
        said = [bench(*run, *more).out for more in ((), ("--preset", "esm2"), ("--preset", "esmc"))]
        assert said[0] == said[1] != said[2]


@pytest.mark.usefixtures("_two_papers")
def test_a_dataset_brings_its_scale_and_preset(bench: Bench) -> None:
    run = ("--models", "esmm", "--data", "shop")
    assert wanted(bench, *run) == wanted(bench, *run, "--preset", "esm2", "--scale", "0.0002")
    assert wanted(bench, *run) == {("shop", "1", "esmm", "")}
    keys = [bench("run", *run, *more, "--dry-run").out for more in ((), ("--preset", "esm2"), ("--preset", "esmc"))]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.usefixtures("_three_exhibits")
def test_a_run_of_exhibits(bench: Bench) -> None:
    """The worlds are prepared, cells trained once, a second run skips all; worlds too small are left out."""
    run = ("run", "--exhibit", "all-esmc", "--cities", "6", "--seeds", "1", *WORLD)
    said = bench(*run)
    assert (said.code, said.err) == (0, ""), said
    assert "six_cities-x0.0001 and 1 worlds beside it: cities 6; models esmc, esmm; seeds 1" in said.out
    assert "5 cells trained; next: bench report" in said.out
    assert len(Store(Path("runs")).records()) == 5
    assert "5 of 5 cells are stored already" in bench(*run).out


@pytest.mark.usefixtures("_three_exhibits")
def test_what_an_exhibit_decides_cannot_be_said(bench: Bench) -> None:
    said = bench("run", "--exhibit", "sweep", "--models", "esmm", "--set", "dropout=0.1", *WORLD)
    assert said.code == 2
    assert said.err.startswith("error: --exhibit says which models in which configuration; leave out --models, --set.")


def test_worlds(bench: Bench, tmp_path: Path) -> None:
    said = bench("run", "--cities", "6", "--models", "esmm", "--world", "bad_case_share=0.4", *WORLD, "--dry-run")
    assert "six_cities-x0.0001-bad_case_share0.4/6 esmm seed 0" in said.out
    for value, wrong in (
        ("bad_case=1", "unknown knob of the simulation 'bad_case'. Did you mean 'bad_case_share'"),
        ("bad_case_share", "--world needs knob=value"),
        ("bad_case_share=2", "bad_case_share is wrong: input should be less than or equal to 0.6, but got '2'"),
    ):
        said = bench("run", "--cities", "6", "--world", value, *WORLD)
        assert said.code == 2
        assert said.err.startswith(f"error: {wrong}")
    said = bench("run", "--data", "ga360", "--data-dir", tmp_path, "--world", "bad_case_share=0.4", *WORLD)
    assert said.code == 2
    assert "only a simulated dataset has knobs, but ga360 is a log" in said.err


def test_the_runs_of_a_grid_are_one_group_of_wandb(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[str | None] = []

    def run_cells(out: Any, cells: Any, folders: Any, pool: Any, wandb: str, group: str | None, *_: Any) -> Any:
        groups.append(group)
        return runner.Outcome()

    monkeypatch.setattr(runner, "run_cells", run_cells)
    run = ("run", "--cities", "6", "--models", "esmc", "--seeds", "1", *WORLD)
    assert bench(*run, "--grid", "constraint_weight=0,1").code == 0
    assert bench(*run).code == 0
    assert groups == ["six_cities-x0.0001 grid constraint_weight=0,1", None]
