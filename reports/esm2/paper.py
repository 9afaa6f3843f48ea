"""The figures of the ESM² paper by our names: which dataset they are of, and which measure a column is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from reports.exhibit import DATASETS
from reports.measures import Entry
from reports.published import Esm2Scores
from reports.study import Study

#: The models of Tables 3 to 5, from the lowest to the highest of Table 3.
MODELS = ("gbdt", "dnn", "dnn_os", "esmm", "esm2")

#: Measure → column of Tables 3 and 7.
SCORES = {
    "auc/cvr/clicked": "CVR-AUC",
    "auc/ctcvr/exposed": "CTCVR-AUC",
    "gauc/ctcvr/exposed": "CTCVR-GAUC",
}

#: By entry and measure.
Figures = Mapping[tuple[Entry, str], float]


class Pair(NamedTuple):
    """A comparison of two entries in one measure."""

    measure: str
    first: Entry
    second: Entry


def is_published(study: Study) -> bool:
    """Whether the paper's figures are of this study's dataset, at any scale (``ecommerce-0.01``)."""
    return study.dataset.partition("-")[0] == DATASETS["esm2"]


def scores(entry: Entry, printed: Esm2Scores) -> dict[tuple[Entry, str], float]:
    """A row of Table 3 or 7."""
    return {(entry, measure): value for measure, value in zip(SCORES, printed_scores(printed), strict=True)}


def printed_scores(printed: Esm2Scores) -> tuple[float, float, float]:
    """In the order of :data:`SCORES`."""
    return printed.cvr_auc, printed.ctcvr_auc, printed.ctcvr_gauc
