"""The papers' figures, typed from their text into ``published.toml``."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

#: The dataset whose cities are the published ones, at any scale (``six_cities-0.01``).
DATASET = "six_cities"

#: By probability: ctr, ctcvr, cvr.
Aucs = dict[str, float]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CityStatistics(_Strict):
    """A row of ESMC Table III. Sparsities are shares of the exposures."""

    users: float
    items: float
    clicks: float
    purchases: float
    exposures: float
    click_sparsity: float
    purchase_sparsity: float


class TableIII(_Strict):
    source: str
    cities: dict[str, CityStatistics]


class TableIV(_Strict):
    """AUCs by city and model; the printed improvement by city, in percent; the marked models by city."""

    source: str
    cities: dict[str, dict[str, Aucs]]
    improvement: dict[str, Aucs]
    bold: dict[str, dict[str, str]]
    italic: dict[str, dict[str, str]]


class TableV(_Strict):
    """AUCs by city and model; the printed improvement over the model without global carts, in percent."""

    source: str
    cities: dict[str, dict[str, Aucs]]
    improvement: dict[str, dict[str, Aucs]]


class CaseAucs(_Strict):
    esm2_chain: float
    esms: float
    improvement: float


class TableVI(_Strict):
    """CVR-AUC on bad-case and good-case purchases by city; improvement in percent."""

    source: str
    bad: dict[str, CaseAucs]
    good: dict[str, CaseAucs]


class OnlineMetric(_Strict):
    """Gain over the base model by day, in percent."""

    title: str
    days: tuple[float, ...]
    average: float


class TableVII(_Strict):
    source: str
    metrics: dict[str, OnlineMetric]


class Sensitivity(_Strict):
    """A curve that the paper only draws: its grid, the value it finds best, what it says of the shape."""

    source: str
    grid: tuple[float, ...]
    best: float
    claim: str


class Figure7(_Strict):
    """Percent by which CTCVR-AUC falls without Sample Calibration, on average."""

    source: str
    ctcvr_fall: float


class EsmcText(_Strict):
    """Percent."""

    source: str
    city_4_improvement: Aucs
    cvr_gain_of_esm2_chain_over: float
    ctr_gain_of_esmc2_over: float
    ctcvr_gain_of_esmc2_over: float
    bad_case_gain_over: float
    good_case_gain_near: float
    online_gain: dict[str, float]


class Esm2Table1(_Strict):
    source: str
    users: int
    items: int
    impressions: int
    clicks: int
    purchases: int
    actions: int


class Esm2Scores(_Strict):
    cvr_auc: float
    ctcvr_auc: float
    ctcvr_gauc: float


class Esm2Table3(_Strict):
    source: str
    models: dict[str, Esm2Scores]


class TopScores(_Strict):
    """Percent, with the top-scored rows taken as positive predictions."""

    recall: float
    precision: float
    f1: float


class Esm2TopTable(_Strict):
    """By model and by percentage of top-scored rows: ``0.1``, ``0.6``, ``1``."""

    source: str
    models: dict[str, dict[str, TopScores]]


class Esm2Table6(_Strict):
    """CVR AUC by the number of numerical features."""

    source: str
    cvr_auc: dict[str, float]


class Esm2Table7(_Strict):
    source: str
    actions: dict[str, Esm2Scores]


class PathAucs(_Strict):
    oaction: float
    daction: float


class Esm2Table8(_Strict):
    """AUCs by model and probability."""

    source: str
    models: dict[str, dict[str, PathAucs]]


class Curve(_Strict):
    """A curve that the paper only draws: its grid, rising, the value it finds best, what it says of the shape."""

    grid: tuple[float, ...]
    best: float
    claim: str


class Esm2Figure6(_Strict):
    """By knob: dropout, layers (the output layer counts), item_dim."""

    source: str
    knobs: dict[str, Curve]


class Esm2Figure7(_Strict):
    """Groups of users as printed, what the text says of the AUCs over them, and of the gains."""

    source: str
    groups: tuple[str, ...]
    levels: str
    gains: str


class Esm2Text(_Strict):
    """Shares are percent."""

    source: str
    instances_over: float
    clicked: float
    bought_of_clicked: float
    bought_of_actions_over: float
    volume_times: float
    carted: float
    wished: float
    carted_plus_wished: float
    bought_of_carted: float
    bought_of_wished: float
    acted: float
    bought_of_acted: float
    positives_of_predicted: float
    dnn_gains: Esm2Scores
    esm2_gains: Esm2Scores
    group_gains: tuple[float, ...]


class Published(_Strict):
    """Everything in ``published.toml``."""

    titles: dict[str, str]
    table_iii: TableIII
    table_iv: TableIV
    table_v: TableV
    table_vi: TableVI
    table_vii: TableVII
    figure_5: Sensitivity
    figure_6: Sensitivity
    figure_7: Figure7
    esmc_text: EsmcText
    esm2_table_1: Esm2Table1
    esm2_table_3: Esm2Table3
    esm2_table_4: Esm2TopTable
    esm2_table_5: Esm2TopTable
    esm2_table_6: Esm2Table6
    esm2_table_7: Esm2Table7
    esm2_table_8: Esm2Table8
    esm2_figure_6: Esm2Figure6
    esm2_figure_7: Esm2Figure7
    esm2_text: Esm2Text

    def auc(self, dataset: str, city: str, model: str, probability: str) -> float | None:
        """The value of Table IV, or None where the paper has none (another dataset, city or model)."""
        if not is_published(dataset):
            return None
        aucs = self.table_iv.cities.get(city, {}).get(model)
        return None if aucs is None else aucs.get(probability)

    def improvement(self, dataset: str, city: str, probability: str) -> float | None:
        """The printed Improvement of Table IV in percent, or None where the paper has none."""
        aucs = self.table_iv.improvement.get(city) if is_published(dataset) else None
        return None if aucs is None else aucs.get(probability)

    def auc_v(self, dataset: str, city: str, model: str, probability: str) -> float | None:
        """The value of Table V, or None where the paper has none."""
        aucs = self.table_v.cities.get(city, {}).get(model) if is_published(dataset) else None
        return None if aucs is None else aucs.get(probability)

    def improvement_v(self, dataset: str, city: str, model: str, probability: str) -> float | None:
        """The printed Improvement of Table V in percent, or None where the paper has none."""
        aucs = self.table_v.improvement.get(city, {}).get(model) if is_published(dataset) else None
        return None if aucs is None else aucs.get(probability)

    def case_auc(self, dataset: str, case: Literal["bad", "good"], city: str, model: str) -> float | None:
        """The CVR-AUC of Table VI, or None where the paper has none."""
        cities = self.table_vi.bad if case == "bad" else self.table_vi.good
        if not is_published(dataset) or city not in cities:
            return None
        return {"esm2_chain": cities[city].esm2_chain, "esms": cities[city].esms}.get(model)


def is_published(dataset: str) -> bool:
    """Whether the cities of a dataset label are those of the paper."""
    return dataset == DATASET or dataset.startswith(f"{DATASET}-")


@cache
def load_published() -> Published:
    """The papers' figures."""
    return Published.model_validate(tomllib.loads(_text()))


def load_printed() -> dict[str, Any]:
    """The same figures as decimals that still tell how many digits are printed, e.g. ``Decimal("1.780")``."""
    return tomllib.loads(_text(), parse_float=Decimal)


def _text() -> str:
    return Path(__file__).with_name("published.toml").read_text(encoding="utf-8")
