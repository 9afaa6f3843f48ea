"""Figure 7: gains by scikit-learn, labels from the cells' notes, levels from predictions, and words that follow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from fake_gains import Calibrated, Twist, area, build, fill, holm, predictions
from fake_store import Columns
from matplotlib.image import imread

from bench.core.cell import Cell
from reports.exhibits.figure_7 import Figure7

#: Calibration helps ESMC, and removing the earlier label does not hurt.
HELPS: dict[str | Calibrated, float] = {
    ("esmc", "none"): 1.0, "esmc": 2.0, ("esmc", "move"): 2.0,
    ("esms", "none"): 1.4, "esms": 1.5, ("esms", "move"): 1.2,
}  # fmt: skip
NOTES: dict[str | Calibrated, dict[str, float | int | str]] = {
    "esmc": {"calibration": "copy", "bad_cases": 200, "matched_carts": 90, "changed_labels": 90},
    ("esmc", "move"): {"calibration": "move", "bad_cases": 200, "matched_carts": 90, "changed_labels": 150},
    ("esmc", "none"): {"calibration": "none"},
}
COUNTS = {"train_carts": 900}
SPACES = {"ctr": "exposed", "ctcvr": "exposed", "cvr": "clicked"}


def flipped(skills: Mapping[str | Calibrated, float]) -> dict[str | Calibrated, float]:
    """With and without calibration change places."""
    return {**skills, "esmc": skills["esmc", "none"], ("esmc", "none"): skills["esmc"]}


def told(text: str, start: str) -> str:
    (line,) = [line for line in text.splitlines() if line.lstrip(" -").startswith(start)]
    return line


def higher_carts(factor: float) -> Twist:
    """Copy predicts more carts than no calibration does, by a factor."""

    def twist(cell: Cell, columns: Columns) -> Columns:
        return {"car": columns["car"] * (factor if cell.config.calibration == "copy" else 1) / 3}

    return twist


def test_every_figure_is_what_scikit_learn_gives(tmp_path: Path) -> None:
    study = fill(tmp_path, HELPS)
    text, frame = build(Figure7(), study, tmp_path / "report")
    indexed = frame.set_index(["city", "model", "variant", "measure", "against_variant", "unit"]).sort_index()
    named = {"copy": "", "none": "calibration=none", "move": "calibration=move"}
    for model in ("esmc", "esms"):
        for probability, space in SPACES.items():
            measure = f"auc/{probability}/{space}"
            found = {(city, mode): area(study, city, model, probability, mode) for city in "12" for mode in named}
            for (city, mode), auc in found.items():
                assert indexed.loc[(city, model, named[mode], measure, "", "AUC")].value == pytest.approx(auc)
                assert f"{auc:.4f} ± " in text
            for first, second in (("copy", "none"), ("move", "none"), ("copy", "move")):
                gains = [100 * (found[city, first] / found[city, second] - 1) for city in "12"]
                row = indexed.loc[("mean", model, named[first], measure, named[second], "percent")]
                assert row.value == pytest.approx(np.mean(gains))
                assert re.search(rf"{re.escape(f'{np.mean(gains):+.3f}')}(\*\*)? \[{re.escape(f'{row.lo:+.3f}')}", text)
            assert indexed.loc[("1", model, "", measure, named["none"], "percent")].value == pytest.approx(
                100 * (found["1", "copy"] / found["1", "none"] - 1)
            )


def test_corrected_over_all_comparisons(tmp_path: Path) -> None:
    _, frame = build(Figure7(), fill(tmp_path, HELPS), tmp_path / "report")
    compared = frame[frame.p_value.notna()]
    # with and without, by city; three pairs, and the level of two predictions, as means over cities
    assert len(compared) == 2 * (3 * 2 + 3 * 6 + 3 * 2)
    assert compared.p_adjusted.tolist() == pytest.approx(holm(compared.p_value.tolist()))


def test_labels_come_from_the_notes(tmp_path: Path) -> None:
    study = fill(tmp_path, HELPS, notes=NOTES, counts=COUNTS)
    text, frame = build(Figure7(), study, tmp_path / "report")
    assert "| Bad-case purchases | 200 | 200 |" in text
    assert "| share that found one | 45% | 45% |" in text
    assert "| Labels changed by copy | 90 | 90 |" in text
    assert "| of all carts | +10% | +10% |" in text
    assert "| Labels changed by move | 150 | 150 |" in text
    assert "Of 400 bad-case purchases on the training days 180 (45%) found a cart" in text
    labels = frame[frame.unit == "labels"].set_index(["city", "measure"]).value
    assert labels["2", "labels changed by move"] == 150


def test_without_notes_labels_are_dashes(tmp_path: Path) -> None:
    text, _ = build(Figure7(), fill(tmp_path, {("esmc", "none"): 1.0, ("esms", "none"): 1.0}), tmp_path / "report")
    assert "| Bad-case purchases | - | - |" in text
    assert "**Labels.**" not in text


def test_levels_come_from_the_predictions(tmp_path: Path) -> None:
    study = fill(tmp_path, HELPS, twist=higher_carts(1.5), rows=3000)
    text, frame = build(Figure7(), study, tmp_path / "report")
    logs = []
    for city in "12":
        means = {}
        for mode in ("copy", "none"):
            columns = predictions(study, city, "esmc", mode)
            means[mode] = np.mean([c["car"][c["click"] == 1].mean(dtype=float) for c in columns])
        logs.append(np.log(means["copy"] / means["none"]))
    shift = frame[(frame.measure == "pcoc/car/clicked") & (frame.model == "ESMC over ESMC⁻")]
    assert shift.value.item() == pytest.approx(np.mean(logs), rel=1e-3)
    assert 0 < shift.hi.item() - shift.lo.item() < 0.5
    assert f"{np.exp(shift.value.item()):.3f}** [" in text


@pytest.mark.parametrize(("factor", "words"), [(1.5, "raises"), (0.7, "lowers"), (1.0, "does not measurably move")])
def test_words_on_the_level(tmp_path: Path, factor: float, words: str) -> None:
    study = fill(tmp_path, dict.fromkeys(HELPS, 1.5), twist=higher_carts(factor), rows=3000)
    recorded(study)
    text, _ = build(Figure7(), study, tmp_path / "report")
    assert f"Sample Calibration {words} its predictions" in told(text, "**CAR of ESMC.**")


def recorded(study: object) -> None:
    """Give the records the metrics of CAR that a real run has."""
    records = study.records  # type: ignore[attr-defined]
    for place, record in enumerate(records):
        test = record.metrics["test"]
        known = {name.replace("cvr", "car"): metric for name, metric in test.items() if name.endswith("cvr/clicked")}
        records[place] = record.model_copy(update={"metrics": {**record.metrics, "test": {**test, **known}}})


def test_words_where_calibration_helps(tmp_path: Path) -> None:
    text, frame = build(Figure7(), fill(tmp_path, HELPS, rows=3000), tmp_path / "report")
    line = told(text, "**Sample Calibration “can improve")
    assert "This agrees with the paper" in line
    assert "contradicts" not in line
    amount = told(text, "**Without it CTCVR-AUC falls by 0.11 % on average**")
    assert "our interval lies above it. The direction agrees with the paper, the size **contradicts** it." in amount
    assert "with it, it is +0.110 % higher" in amount
    row = frame[(frame.city == "mean") & (frame.model == "esmc") & frame.published.notna()]
    assert row.published.item() == pytest.approx(100 * (1 / (1 - 0.0011) - 1))
    assert "not distinguishable in CTR-AUC" in told(
        text, "**Leaving the earlier label (copy) against removing it (move), ESMC**"
    )
    assert "better in" in told(text, "**Leaving the earlier label (copy) against removing it (move), ESMS**")


def test_words_where_calibration_hurts(tmp_path: Path) -> None:
    text, _ = build(Figure7(), fill(tmp_path, flipped(HELPS), rows=3000), tmp_path / "report")
    assert "This **contradicts** the paper" in told(text, "**Sample Calibration “can improve")
    assert "our interval lies below it. This **contradicts** the paper." in told(text, "**Without it CTCVR-AUC")


def test_words_where_nothing_differs(tmp_path: Path) -> None:
    text, _ = build(Figure7(), fill(tmp_path, dict.fromkeys(HELPS, 1.0), rows=800), tmp_path / "report")
    assert "The data neither confirm nor contradict the paper." in told(text, "**Sample Calibration “can improve")


def test_missing_variants_are_dashes_with_a_command(tmp_path: Path) -> None:
    text, frame = build(Figure7(), fill(tmp_path, {"esmc": 1.0}, cities=("1",)), tmp_path / "report")
    assert "City 1: ESMC⁻, ESMC (move), ESMS⁻, ESMS, ESMS (move). `bench run --exhibit figure_7` trains them." in text
    assert "**ESMC against ESMC⁻** is not measured." in text
    assert "| ESMC⁻ | - | - |" in text
    assert frame.p_value.isna().all()


def test_nothing_stored(tmp_path: Path) -> None:
    text, frame = build(Figure7(), fill(tmp_path, {"esmm": 1.0}, cities=("1",)), tmp_path / "report")
    assert text.startswith("No AUC to show.")
    assert "`bench run --exhibit figure_7` trains them." in text
    assert frame.empty


def test_pictures_are_pictures_and_tell_that_bars_are_cut(tmp_path: Path) -> None:
    text, _ = build(Figure7(), fill(tmp_path, HELPS, cities=("1",)), tmp_path / "report")
    paths = sorted((tmp_path / "report").glob("*.png"))
    assert len(paths) == 2
    for path in paths:
        assert f"({path.name})" in text
        assert imread(path)[..., :3].std() > 0.05
    assert "Bars are cut off at the foot" in text


def test_a_log_without_truth(tmp_path: Path) -> None:
    study = fill(tmp_path, HELPS, cities=("1",), dataset="a_log")
    text, frame = build(Figure7(), study, tmp_path / "report")
    assert "<sub>" not in text
    assert frame.published.isna().all()
