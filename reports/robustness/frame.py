"""The figures of the exhibits that vary the simulation as tidy rows, and the paper's beside them."""

from __future__ import annotations

import pandas as pd

from bench.metrics.compare import Contrast
from reports.robustness.axes import CITY, DEFAULT, Pair
from reports.robustness.findings import Findings
from reports.study import Study

COLUMNS = [
    "dataset", "preset", "city", "axis", "world", "setting", "kind", "measure", "model", "against", "value", "lo", "hi",
    "se", "p_value", "p_adjusted", "n_seeds", "published",
]  # fmt: skip


def published_auc(study: Study, city: str, measure: str, model: str) -> float | None:
    """The paper's AUC against observed labels; None where it has none, and for CVR over all exposures."""
    probability, space = measure.split("/")[1:]
    entire = probability == "cvr" and space == "exposed"
    return None if entire else study.published.auc(study.dataset, city, model, probability)


def published(study: Study, measure: str, pair: Pair) -> dict[str, float]:
    """The paper's differences by city."""
    found = {}
    for city in study.published.table_iv.cities:
        first, second = (published_auc(study, city, measure, model) for model in pair)
        if first is not None and second is not None:
            found[city] = first - second
    return found


def frame(study: Study, found: Findings) -> pd.DataFrame:
    """Every figure, one a row: AUCs, differences of pairs of models, trends (without a world)."""
    x = {place.name: place.x for place in found.places}
    rows: list[dict[str, object]] = [
        {"world": w, "measure": m, "kind": "auc", "model": model, "value": e.mean, "lo": e.lo, "hi": e.hi, "se": e.se}
        | {"n_seeds": e.n_seeds, "published": published_auc(study, CITY, m, model) if w == DEFAULT else None}
        for (w, m, model), e in found.estimates.items()
    ]
    rows += [
        {"world": w, "measure": m, "kind": "difference", **contrast_row(pair, c)}
        | {"published": published(study, m, pair).get(CITY) if w == DEFAULT else None}
        for (w, m, pair), c in found.contrasts.items()
    ]
    rows += [{"measure": m, "kind": "trend", **contrast_row(pair, c)} for (m, pair), c in found.trends.items()]
    known = pd.DataFrame(rows, columns=COLUMNS)
    known["setting"] = known.world.map(x)
    return known.assign(dataset=study.dataset, preset=study.preset, city=CITY, axis=found.axis.label)


def contrast_row(pair: Pair, contrast: Contrast) -> dict[str, object]:
    model, against = pair
    numbers = ("lo", "hi", "se", "p_value", "p_adjusted", "n_seeds")
    return {"model": model, "against": against, "value": contrast.difference} | {
        name: getattr(contrast, name) for name in numbers
    }
