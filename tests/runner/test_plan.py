"""The matrix of cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from bench.core.config import Config, override
from bench.core.errors import UserError
from bench.core.registry import MODELS, SOURCES
from bench.data.source import Source, SourceOptions
from bench.data.tables import FACTS
from bench.runner.plan import Plan, Request, choose, models_of, plan


class Towns(Source):
    name = "towns"
    asked = 0

    def cities(self) -> list[str]:
        return ["a", "b"]

    def fingerprint(self, city: str) -> str:
        self.asked += 1
        return f"print of {city}"

    def write(self, city: str, folder: Path) -> None:
        raise NotImplementedError


def model(*needs: str, knobs: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(needs=needs, knobs=knobs)


def meta(rows: int, **counts: int) -> Any:
    splits = {"train": (0, rows - 1), "test": (rows - 1, rows)}
    return SimpleNamespace(splits=splits, counts={"train": counts}, lacks={})


def planned(source: Source, cities: str, seeds: int = 1, config: Config | None = None, **more: Any) -> Plan:
    metas = more.pop("metas", None)
    return plan([Request(source, list(cities), MODEL, [config or Config()], **more)], seeds, metas)


MODEL = {"plain": model("click"), "carts": model("click", "cart", knobs=("constraint_weight", "calibration"))}


def test_every_city_model_and_seed_is_a_cell() -> None:
    source = Towns(SourceOptions())
    cells, left_out = planned(source, "ab", seeds=2)
    assert [(cell.city, cell.model, cell.seed) for cell in cells] == [
        (city, name, seed) for city in "ab" for name in ("plain", "carts") for seed in (0, 1)
    ]
    assert {(cell.dataset, cell.fingerprint, cell.test) for cell in cells} == {
        ("towns", "print of a", True),
        ("towns", "print of b", True),
    }
    assert len({cell.key for cell in cells}) == 8
    assert left_out == []
    assert source.asked == 2  # a fingerprint may read a whole log


def test_large_cities_come_first() -> None:
    metas = {"print of a": meta(10, click=1, cart=1), "print of b": meta(20, click=1, cart=1)}
    cells, _ = planned(Towns(SourceOptions()), "ab", metas=metas)
    assert [cell.city for cell in cells] == ["b", "b", "a", "a"]


def test_a_model_whose_labels_a_city_lacks_is_left_out_with_the_reason() -> None:
    metas = {"print of a": meta(10, click=1, cart=0), "print of b": meta(5, click=1, cart=1)}
    cells, left_out = planned(Towns(SourceOptions()), "ab", metas=metas)
    assert [(cell.city, cell.model) for cell in cells] == [("a", "plain"), ("b", "plain"), ("b", "carts")]
    assert left_out == ["carts on city a: it needs cart labels (the log has none in its training rows)"]


def test_a_model_is_left_out_where_the_data_say_what_they_cannot_supply() -> None:
    late = meta(10, click=1, cart=1)
    late.lacks = {"visit": "has one visit of a user", "time": "has no times"}
    models = MODEL | {"coming_back": model("click", "cart", "visit", "search")}
    metas = {"print of a": late, "print of b": meta(5, click=1)}
    cells, left_out = plan([Request(Towns(SourceOptions()), ["a", "b"], models, [Config()])], 1, metas)
    assert [(cell.city, cell.model) for cell in cells] == [("a", "plain"), ("a", "carts"), ("b", "plain")]
    none = "cart labels (the log has none in its training rows)"
    assert left_out == [
        "coming_back on city a: it needs visits that a user comes back from (the log has one visit of a user)",
        f"carts on city b: it needs {none}",
        f"coming_back on city b: it needs {none}",
    ]


@pytest.mark.parametrize("metas", [None, {"print of a": meta(10, click=1, cart=1)}])
def test_what_a_source_lacks_leaves_models_out_also_before_there_are_data(metas: dict[str, Any] | None) -> None:
    class Plain(Towns):
        lacks: ClassVar[Mapping[str, str]] = {"cart": "has no carts", "search": "has recommendations only"}

    models = MODEL | {"wide": model("click", "cart", "search")}
    cells, left_out = plan([Request(Plain(SourceOptions()), ["a"], models, [Config()])], 1, metas)
    assert [cell.model for cell in cells] == ["plain"]
    assert left_out == [
        "carts on city a: it needs cart labels (the log has no carts)",
        "wide on city a: it needs cart labels (the log has no carts), carts of the search domain (the log has "
        "recommendations only)",
    ]


@pytest.mark.parametrize("name", [name for name in SOURCES.names() if name != "tables"])  # that depends on the folder
def test_every_model_is_left_out_of_every_dataset_that_lacks_what_it_needs_and_of_no_other(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = SOURCES.get(name)
    monkeypatch.setattr(kind, "fingerprint", lambda self, city: f"print of {city}")
    source = kind(SourceOptions())
    assert set(kind.lacks) <= set(FACTS)
    assert all(re.fullmatch("[a-z].*[^.]", reason) for reason in kind.lacks.values())  # the end of "the log …"
    cells, left_out = plan([Request(source, source.cities()[:1], MODELS.all(), [Config()])], 1)
    unfit = {model for model, kind_of in MODELS.all().items() if set(kind_of.needs) & set(source.lacks)}
    assert {cell.model for cell in cells} == MODELS.all().keys() - unfit
    assert {line.split()[0] for line in left_out} == unfit
    for line in left_out:
        needed = set(MODELS.get(line.split()[0]).needs) & set(source.lacks)
        assert all(source.lacks[fact] in line for fact in needed)


def test_the_needs_of_the_models() -> None:
    """Sample Calibration gives carts of earlier visits to purchases; the global domain has those of search beside."""
    needs = {name: set(model.needs) - {"click", "purchase"} for name, model in MODELS.all().items()}
    assert {name for name, needed in needs.items() if "visit" in needed} == {"esms", "esmc", "esms2", "esmc2"}
    assert {name for name, needed in needs.items() if "search" in needed} == {"esms2", "esmc2"}
    assert all("cart" in needed for needed in needs.values() if needed)
    learns = {name for name, model in MODELS.all().items() if "calibration" in model.knobs}
    assert learns == {name for name, needed in needs.items() if "visit" in needed}


def test_a_knob_changes_only_the_cells_of_models_that_have_it() -> None:
    source = Towns(SourceOptions())
    before, _ = planned(source, "a")
    after, _ = planned(source, "a", config=override(Config(), ["constraint_weight=0.7"]))
    assert before[0].key == after[0].key
    assert before[1].key != after[1].key
    assert after[1].config.constraint_weight == 0.7


def test_tuned_values_are_used_where_there_are_any() -> None:
    tuned = {("b", "carts"): {"constraint_weight": 0.3}}
    cells, _ = planned(Towns(SourceOptions()), "ab", tuned=tuned)
    assert [cell.config.constraint_weight for cell in cells] == [0.05, 0.05, 0.05, 0.3]


def test_cells_that_two_requests_share_are_planned_once() -> None:
    """Configurations that differ in a knob that a model does not use are one for it."""
    source = Towns(SourceOptions())
    configs = [Config(constraint_weight=weight) for weight in (0.05, 0.1, 0.5)]
    sweep = Request(source, ["a"], MODEL, configs)
    alone, _ = plan([sweep], 2)
    assert [(cell.model, cell.config.constraint_weight) for cell in alone if cell.seed == 0] == [
        ("plain", 0.05), ("carts", 0.05), ("carts", 0.1), ("carts", 0.5)
    ]  # fmt: skip
    both, _ = plan([Request(source, ["a", "b"], MODEL, [Config()]), sweep], 2)
    assert len(both) == len({cell.key for cell in both}) == 8 + 4
    assert {cell.key for cell in alone} <= {cell.key for cell in both}


def test_a_run_has_a_seed() -> None:
    with pytest.raises(UserError, match="--seeds must be at least 1, but got 0"):
        planned(Towns(SourceOptions()), "a", seeds=0)


def test_names_are_chosen_in_order_and_once() -> None:
    assert choose("city", None, ["1", "2"]) == ["1", "2"]
    assert choose("city", ["2", "1", "2"], ["1", "2"]) == ["2", "1"]
    with pytest.raises(UserError, match="unknown city '3'"):
        choose("city", ["1", "3"], ["1", "2"])
    with pytest.raises(UserError, match="at least one city must be named"):
        choose("city", [], ["1", "2"])


def test_all_models_are_the_default() -> None:
    assert list(models_of(None)) == MODELS.names()
    assert list(models_of(["esmm", "mmoe"])) == ["esmm", "mmoe"]
    assert list(models_of(["esmm"], also=["mmoe", "esmm"])) == ["esmm", "mmoe"]
    with pytest.raises(UserError, match="unknown model"):
        models_of(["esmx"])
