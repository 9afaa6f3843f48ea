"""GAUC, recall, precision and F1 at the top, path and group AUCs of stored cells; what is read, when, and withheld."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_store import Columns, make_cell, store_cell
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from bench.core.cell import Cell
from bench.core.config import PRESETS
from bench.core.seeding import derive
from bench.metrics.compare import difference, estimate
from bench.results.store import Store
from reports.measure_list import AUCS, GAUCS, MEASURES, PATHS, TOPS
from reports.measures import MIN_CLASS, grouped, measured
from reports.study import Study, load_studies

ENTRIES = [("esmm", ""), ("esm2", "")]
SCORES = {"recall": recall_score, "precision": precision_score, "f1": f1_score}


def with_wish(cell: Cell, columns: Columns) -> Columns:
    """A third of the clicked rows is wished for."""
    rng = np.random.default_rng(derive(1, cell.city))
    return {"wish": columns["click"] * (rng.random(columns["click"].size) < 0.3).astype(np.uint8)}


def fill(folder: Path, seeds: int = 2, rows: int = 3000, **how: Any) -> Store:
    store = Store(folder / "runs")
    for model, _ in ENTRIES:
        for seed in range(seeds):
            store_cell(store, make_cell("1", model, seed), rows=rows, **{"change": with_wish, **how})
    return store


def study_of(store: Store) -> Study:
    (study,) = load_studies(store, store.scan())
    return study


def rows_of(found: Columns, space: str) -> np.ndarray:
    """The rows of a measure, by the last part of its name, and whether they are exposed or clicked."""
    probability, name = space.split("/")
    within = found["click"] == 1 if probability == "cvr" else np.full(found["click"].size, True)
    action = (found["cart"] | found["wish"]) == 1
    return within & {"daction": action, "oaction": ~action}.get(name, True)


def reference(name: str, found: Columns) -> float:
    """The value of a measure from the stored file, one user and one cut after the other, with scikit-learn."""
    statistic, _, space = name.partition("/")
    probability = space.split("/")[0]
    rows = rows_of(found, space)
    label = (found["click"] if probability == "ctr" else found["click"] & found["purchase"])[rows]
    score, user = found[probability][rows], found["user"][rows]
    if statistic == "auc":
        return float(roc_auc_score(label, score))
    if statistic == "gauc":
        parts = [(label[user == u], score[user == u]) for u in np.unique(user)]
        return float(np.mean([roc_auc_score(y, p) for y, p in parts if 0 < y.sum() < y.size]))
    kind, _, percent = statistic.partition("@")
    taken = np.zeros(label.size, dtype=int)
    taken[np.argsort(-score, kind="stable")[: max(1, math.floor(float(percent) / 100 * label.size + 0.5))]] = 1
    return float(SCORES[kind](label, taken, zero_division=0))


def test_the_names_are_those_of_the_papers_tables() -> None:
    assert set(GAUCS) == {"gauc/ctr/exposed", "gauc/ctcvr/exposed", "gauc/cvr/clicked"}
    assert len(TOPS) == 18
    assert {"f1@0.6/cvr/clicked", "recall@0.1/ctcvr/exposed", "precision@1/cvr/clicked"} <= set(TOPS)
    assert set(PATHS) == {f"auc/{p}/{path}" for p in ("cvr", "ctcvr") for path in ("daction", "oaction")}
    assert TOPS["f1@0.6/cvr/clicked"].title == "CVR@top0.6%, F1"
    assert GAUCS["gauc/ctcvr/exposed"].title == "CTCVR-GAUC"
    assert PATHS["auc/cvr/daction"].title == "CVR-AUC, DAction path"
    assert len(MEASURES) == len(AUCS) + 3 + 18 + 4


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study_of(fill(tmp_path_factory.mktemp("store")))


@pytest.mark.parametrize("name", [*GAUCS, *TOPS, *PATHS])
def test_values_equal_an_independent_reference(study: Study, name: str) -> None:
    found = measured(study, "1", [name], ENTRIES)
    for model, _ in ENTRIES:
        files = [study.store.predictions(make_cell("1", model, seed).key) for seed in range(2)]
        sample = found.sample(name, model)
        assert sample is not None and sample.seeds == (0, 1)
        assert sample.areas == pytest.approx([reference(name, file) for file in files], abs=1e-12)
        rows = rows_of(files[0], name.partition("/")[2])
        n_pos = files[0]["click" if "/ctr/" in name else "purchase"][rows].sum()
        assert found.counts[name] == (rows.sum(), n_pos)
        assert sample.sums.shape == (2, np.unique(files[0]["user"][rows]).size)
        assert sample.sums.sum(axis=1) == pytest.approx([0, 0], abs=1e-12)


def test_intervals_and_comparisons_follow(study: Study) -> None:
    for name in ("gauc/ctr/exposed", "f1@1/ctcvr/exposed", "auc/ctcvr/oaction"):
        found = measured(study, "1", [name])
        first, second = (found.sample(name, model) for model, _ in ENTRIES)
        assert first is not None and second is not None
        value, apart = estimate(first), difference(first, second)
        assert value.lo < value.mean < value.hi
        assert apart.difference == pytest.approx(first.areas.mean() - second.areas.mean())
        assert apart.se > 0 and 0 <= apart.p_value <= 1


class Counted(Store):
    """A store that remembers the cells whose predictions were read."""

    read: list[str]

    def predictions(self, key: str, *columns: Any) -> dict[str, np.ndarray]:
        self.read.append(key)
        return super().predictions(key, *columns)


def counted(study: Study) -> list[str]:
    """The cells that are read from now on."""
    store = Counted(study.store.out)
    store.read = []
    study.store = store
    return store.read


def test_only_what_is_asked_for_is_measured_and_read(tmp_path: Path) -> None:
    study = study_of(fill(tmp_path))
    read = counted(study)
    assert measured(study, "1", ()).columns["wish"].size == 3000
    assert len(read) == 1  # the test rows
    found = measured(study, "1")
    assert set(found.counts) == set(AUCS)
    assert len(read) == 1 + 4 and len(set(read)) == 4
    assert found.sample("f1@1/ctcvr/exposed", "esm2") is None
    assert measured(study, "1") is found and len(read) == 5

    read.clear()
    names = ["f1@1/ctcvr/exposed", "auc/ctr/exposed", "gauc/ctr/exposed"]
    measured(study, "1", names, [("esm2", "")])
    assert sorted(read) == sorted(make_cell("1", "esm2", seed).key for seed in range(2))
    assert found.sample("f1@1/ctcvr/exposed", "esm2") is not None
    assert found.sample("f1@1/ctcvr/exposed", "esmm") is None
    assert set(found.counts) == {*AUCS, *names}
    measured(study, "1", names)
    assert len(read) == 4 and found.sample("f1@1/ctcvr/exposed", "esmm") is not None
    assert found.sample("auc/cvr/clicked", "esmm") is not None


def test_what_is_asked_for_first_does_not_hide_the_rest(tmp_path: Path) -> None:
    study, other = (study_of(fill(tmp_path, seeds=1)) for _ in range(2))
    measured(study, "1", ["gauc/ctr/exposed"], [("esm2", "")])
    late, plain = measured(study, "1"), measured(other, "1")
    for entry in ENTRIES:
        expected = {name: sample.areas.tolist() for name, sample in plain.samples[entry].items()}
        assert {"auc/ctr/exposed", "auc/cvr/clicked", "truth/cvr/unclicked"} <= expected.keys()
        assert {n: s.areas.tolist() for n, s in late.samples[entry].items() if n in AUCS} == expected


def test_without_wishes_there_are_no_paths(tmp_path: Path) -> None:
    found = measured(study_of(fill(tmp_path, seeds=1, change=None)), "1", [*PATHS, "gauc/ctr/exposed"])
    assert set(found.counts) == {"gauc/ctr/exposed"} == set(found.samples["esm2", ""])


def test_aucs_of_few_positives_are_withheld_and_f1_is_not(tmp_path: Path) -> None:
    study = study_of(fill(tmp_path, seeds=1, buy=0.1))
    found = measured(study, "1", [*GAUCS, *TOPS, "auc/cvr/clicked"])
    assert 0 < found.counts["gauc/ctcvr/exposed"][1] < MIN_CLASS
    assert found.counts["f1@1/cvr/clicked"] == found.counts["auc/cvr/clicked"]
    assert set(found.samples["esm2", ""]) == {*TOPS, "gauc/ctr/exposed"}


def test_without_a_positive_there_is_no_f1(tmp_path: Path) -> None:
    found = measured(study_of(fill(tmp_path, seeds=1, buy=0.0)), "1", TOPS)
    assert {counts[1] for counts in found.counts.values()} == {0}
    assert found.samples == {entry: {} for entry in found.samples} and len(found.samples) == 2


def test_a_gauc_where_no_user_has_both_classes_is_absent(tmp_path: Path) -> None:
    def apart(cell: Cell, columns: Columns) -> Columns:
        return {"user": np.arange(columns["user"].size, dtype=np.int32)}

    found = measured(study_of(fill(tmp_path, seeds=1, change=apart)), "1", ["gauc/ctr/exposed", "auc/ctr/exposed"])
    assert min(found.counts["gauc/ctr/exposed"]) >= MIN_CLASS
    assert set(found.samples["esm2", ""]) == {"auc/ctr/exposed"}


def test_groups_are_measured_over_their_own_rows(study: Study) -> None:
    columns = measured(study, "1", ()).columns
    groups = {"even": columns["user"] % 2 == 0, "odd": columns["user"] % 2 == 1, "all": columns["user"] >= 0}
    names = ["auc/cvr/clicked", "auc/ctcvr/exposed", "f1@1/ctcvr/exposed"]
    read = counted(study)
    found = grouped(study, "1", groups, names, [("esm2", "")])
    assert len(read) == 2
    for group, chosen in groups.items():
        assert set(found[group].samples) == {("esm2", "")}
        for name in names:
            sample = found[group].sample(name, "esm2")
            assert sample is not None
            for seed, value in zip(sample.seeds, sample.areas, strict=True):
                file = study.store.predictions(make_cell("1", "esm2", seed).key)
                kept = {column: values[chosen] for column, values in file.items()}
                assert value == pytest.approx(reference(name, kept), abs=1e-12)
                within = kept["click"] == 1 if "clicked" in name else kept["click"] >= 0
                assert found[group].counts[name] == (within.sum(), kept["purchase"].sum())
                assert sample.sums.shape[1] == np.unique(kept["user"][within]).size
    whole = measured(study, "1", names).sample("auc/cvr/clicked", "esm2")
    again = found["all"].sample("auc/cvr/clicked", "esm2")
    assert whole is not None and again is not None and (whole.sums == again.sums).all()


def test_a_group_of_few_positives_is_withheld_and_counted(study: Study) -> None:
    columns = measured(study, "1", ()).columns
    found = grouped(study, "1", {"few": columns["user"] < 10}, ["auc/cvr/clicked"])["few"]
    assert 0 < found.counts["auc/cvr/clicked"][1] < MIN_CLASS
    assert found.samples == {entry: {} for entry in found.samples} and len(found.samples) == 2


@pytest.mark.parametrize("mask", [np.full(2999, True), np.ones(3000, dtype=int)], ids=["length", "type"])
def test_a_group_that_is_no_mask_is_refused(study: Study, mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be a mask \(3000,\) bool"):
        grouped(study, "1", {"wrong": mask}, ["auc/cvr/clicked"])


def test_a_measure_that_is_none_is_refused(study: Study) -> None:
    with pytest.raises(KeyError, match="auc/cvr/carted"):
        measured(study, "1", ["auc/cvr/carted"])
    with pytest.raises(KeyError, match="auc/cvr/carted"):
        grouped(study, "1", {}, ["auc/cvr/carted"])


def test_nothing_that_can_be_read_gives_nothing(tmp_path: Path) -> None:
    store = fill(tmp_path, seeds=1)
    for path in store.cells.glob("*/predictions.parquet"):
        path.write_bytes(b"")
    study = study_of(store)
    found = measured(study, "1", [*AUCS, *TOPS])
    assert (found.columns, found.counts, found.samples) == ({}, {}, {})
    assert grouped(study, "1", {"any": np.full(3, True)}, ["auc/cvr/clicked"])["any"].samples == {}
    assert len(study.notes) == 2


def test_variants_are_entries_of_their_own(tmp_path: Path) -> None:
    store = fill(tmp_path, seeds=1)
    store_cell(store, make_cell("1", "esm2", config=PRESETS["esmc"].model_copy(update={"dropout": 0.25})), rows=3000)
    found = measured(study_of(store), "1", ["gauc/ctr/exposed"], [("esm2", "dropout=0.25")])
    assert list(found.samples) == [("esm2", "dropout=0.25")]
