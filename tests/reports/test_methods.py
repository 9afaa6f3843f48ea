"""The methods page: terms and sample spaces that are known by hand, also of models that break the rules."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from fake_store import StoreMaker
from torch import Tensor

from baselines.shared_bottom import SharedBottom
from bench.core.config import PRESETS, Config
from bench.core.registry import MODELS
from bench.data.batches import Labels
from bench.modeling.outputs import FunnelOutput
from esm_models.esm2_chain import ESM2Chain
from esm_models.esmm import ESMM
from reports.exhibits.methods import COLUMNS, Methods
from reports.methods import FIELDS, Facts, Term, description, probe
from reports.study import Study, load_studies

CONFIG = PRESETS["esmc"]
CTR = Term("ctr", ("ctr",), ("click",), "exposed", ("weight_ctr",))
CTCVR = Term("ctcvr", ("ctcvr",), ("click", "purchase"), "exposed", ("weight_cvr",))
CTCAR = Term("ctcar", ("ctcar",), ("click", "cart"), "exposed", ("weight_car",))
GLOBAL = Term("ctcar_global", ("ctcar",), ("click", "global_cart"), "exposed", ("weight_global",))
CONSTRAINT = Term("constraint", (), (), "", ("constraint_weight",))
CLICKED = Term("cvr", ("cvr",), ("purchase",), "clicked", ("weight_cvr",))
CLICKED_CART = Term("car", ("car",), ("cart",), "clicked", ("weight_car",))
CALIBRATOR = Term("calibrator", ("ctr", "ctcvr", "ctcar"), (), "exposed", ("weight_calibrator",))
RISK = Term("cvr_risk", ("ctr", "cvr"), ("purchase",), "clicked", ("weight_risk",))
IMPUTATION = RISK._replace(name="imputation")


def facts(kind: type, config: Config = CONFIG) -> Facts:
    found = probe(kind, config)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "terms"),
    [
        ("shared_bottom", {CTR, CLICKED}),
        ("mmoe", {CTR, CLICKED}),
        ("ple", {CTR, CLICKED}),
        ("dnn", {CTR, CLICKED}),
        ("dnn_os", {CTR, CLICKED}),
        ("dbmtl", {CTR, CLICKED, CLICKED_CART}),
        ("aitm", {CTR, CTCVR, CTCAR, CALIBRATOR}),
        ("escm2_ips", {CTR, CTCVR, RISK}),
        ("escm2_dr", {CTR, CTCVR, RISK, IMPUTATION}),
        ("esmm", {CTR, CTCVR}),
        ("esm2", {CTR, CTCVR, CTCAR}),
        ("esm2_chain", {CTR, CTCVR, CTCAR}),
        ("esms", {CTR, CTCVR, CTCAR}),
        ("esmc", {CTR, CTCVR, CTCAR, CONSTRAINT}),
        ("esms2", {CTR, CTCVR, CTCAR, GLOBAL}),
        ("esmc2", {CTR, CTCVR, CTCAR, GLOBAL, CONSTRAINT}),
    ],
)
def test_loss_terms(model: str, terms: set[Term]) -> None:
    assert set(facts(MODELS.get(model)).terms) == terms


def test_a_weight_of_zero_still_finds_its_term_and_none_removes_it() -> None:
    without = CONFIG.model_copy(update={"weight_car": 0.0, "constraint_weight": 0.0})
    terms = {term.name: term for term in facts(MODELS.get("esmc"), without).terms}
    assert "constraint" not in terms
    assert terms["ctcar"].weights == ("weight_car",)


class Carted(ESMM):
    """A loss over carted rows, of two labels, weighted by nothing."""

    def losses(self, output: FunnelOutput, labels: Labels) -> dict[str, Tensor]:
        error = output.cvr.cross_entropy(labels.purchase * labels.global_cart)
        return {"odd": (error * labels.cart).sum() / labels.cart.sum()}


def test_a_loss_over_carted_rows() -> None:
    """The cart decides which rows count, so it moves the term as well."""
    (term,) = facts(Carted).terms
    assert term == Term("odd", ("cvr",), ("cart", "purchase", "global_cart"), "carted", ())


class Unclicked(SharedBottom):
    """The clicked baseline, with unclicked rows slipped into its CVR loss."""

    def losses(self, output: FunnelOutput, labels: Labels) -> dict[str, Tensor]:
        return {"cvr": output.cvr.cross_entropy(labels.purchase).mean()}


def test_unclicked_rows_in_a_loss_are_seen() -> None:
    (term,) = facts(Unclicked).terms
    assert term.rows == "exposed"


class Loose(ESMM):
    """CTCVR is not the product."""

    def compose(self, x: Tensor) -> FunnelOutput:
        output = super().compose(x)
        return output._replace(ctcvr=output.ctr)


def test_what_holds_between_outputs() -> None:
    product, cart = "CTCVR = CTR × CVR", "CTCAR = CTR × CAR"
    assert facts(ESMM).holds == (product,)
    assert facts(Loose).holds == ()
    assert facts(MODELS.get("esm2")).holds == (product, cart)
    assert facts(MODELS.get("esmc")).holds == (product, cart)
    assert facts(MODELS.get("esms")).holds == (product, cart, "CVR = CAR")
    assert facts(ESM2Chain).holds == (product, cart, "CVR ≤ CAR: no purchase without a cart")


def test_parameters_by_hand() -> None:
    """Two towers on the fields' embeddings, DIN's and ETA's vector, with layers of 128, 64 and 1."""
    width = 16 * (FIELDS + 2)
    tower = width * 128 + 128 + 128 * 64 + 64 + 64 + 1
    assert facts(ESMM).own == 2 * tower
    assert facts(ESM2Chain).own == 3 * tower
    assert facts(ESMM).shared == facts(ESM2Chain).shared
    dnn = facts(MODELS.get("dnn"))
    assert dnn.shared == facts(ESMM).shared
    assert dnn.own == 2 * tower + dnn.shared  # the second estimator's input is its own


class Fitted:
    """Trees, say."""

    name = "fitted"


def test_a_model_without_gradients_has_no_facts() -> None:
    assert probe(Fitted, CONFIG) is None
    assert description(Fitted) == "Trees, say."


def test_descriptions_take_helpers_in_and_leave_other_models_out() -> None:
    assert "CVR loss over clicked rows" in description(SharedBottom)
    assert "ω4 × L_CTCAR" in description(MODELS.get("esmc2"))
    assert "The twins start equal" in description(MODELS.get("esmc"))
    assert "The twins start equal" not in description(MODELS.get("esmc2"))
    assert "LightningModule" not in description(ESMM)


def study_of(make_store: StoreMaker) -> Study:
    store = make_store(cities=("1",), models=("esmm", "esmc"), seeds=2)
    (study,) = load_studies(store, store.scan())
    return study


def test_every_model_is_on_the_page(make_store: StoreMaker, tmp_path: Path) -> None:
    text = Methods().build(study_of(make_store), tmp_path)
    frame = pd.read_csv(tmp_path / "methods.csv")
    assert list(frame.columns) == COLUMNS
    assert set(frame.model) == set(MODELS.all())
    for name, kind in MODELS.all().items():
        assert f"(`{name}`; {kind.source})" in text
        assert all(f"`{knob}`" in text for knob in kind.knobs)
    for word in ("PSC", "DS", "CTCAR", "𝕆", "r̂"):
        assert f"| {word} |" in text or f", {word} |" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_lines_of_the_page(make_store: StoreMaker, tmp_path: Path) -> None:
    text = Methods().build(study_of(make_store), tmp_path)
    assert "|  | cvr | CVR | purchase | clicked | `weight_cvr` = 1 |" in text
    assert "|  | ctcar | CTCAR | click and cart | all exposures | `weight_car` = 1 |" in text  # ESM²
    assert "|  | ctcar | CTCAR | click and calibrated cart | all exposures | `weight_car` = 1 |" in text  # ESMS
    assert "|  | constraint | - | - | none: parameters only | `constraint_weight` = 0.05 |" in text
    assert "| ESMM | CTR, CVR, CTCVR | CTCVR = CTR × CVR | 107,010 | 104,000 | - |" in text
    assert "`cvr`, `auc/cvr/clicked`" in text


def test_only_main_cells_count_as_stored(make_store: StoreMaker, tmp_path: Path) -> None:
    text = Methods().build(replace(study_of(make_store), main=frozenset()), tmp_path)
    assert "| ESMM | CTR, CVR, CTCVR | CTCVR = CTR × CVR | 107,010 | - | - |" in text


def test_a_fitted_model_is_on_the_page_too(
    make_store: StoreMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = type("Fitted", (), {"__doc__": "Trees.", "name": "fitted", "source": "a forest", "knobs": ()})
    monkeypatch.setattr(MODELS, "all", lambda: {"fitted": fitted, "esmm": ESMM})
    text = Methods().build(study_of(make_store), tmp_path)
    assert "- **fitted** (`fitted`; a forest). Trees." in text
    assert "| fitted | not trained by gradient descent | - | - | - | - |" in text
    assert "| fitted | - | - | - | - | - |" in text
    frame = pd.read_csv(tmp_path / "methods.csv")
    assert frame.term[frame.model == "fitted"].isna().all()
