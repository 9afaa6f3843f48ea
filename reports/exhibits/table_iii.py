"""ESMC Table III: the statistics of the cities, ours beside the published ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.data.tables import Manifest
from reports import style
from reports.exhibit import DATASETS, Exhibit
from reports.markdown import MISSING, beside, table
from reports.published import is_published
from reports.study import Study

#: Quantity → (heading, is a share or ratio). The first seven are the paper's columns.
PAPER = {
    "users": "Users",
    "items": "Items",
    "clicks": "Clicks",
    "purchases": "Purchases",
    "exposures": "Total size",
    "click_sparsity": "Sparsity of click",
    "purchase_sparsity": "Sparsity of purchase",
}
OURS = {
    "visits": "Visits",
    "exposures_per_visit": "Exposures per visit",
    "carts": "Carts",
    "wishes": "Wishes",
    "search_carts": "Carts from search",
    "bad_case_share": "Bad cases of purchases",
}
#: Counts that are none where a log lacks a fact.
COUNTED = {
    "click": ("clicks",),
    "cart": ("carts", "search_carts", "bad_case_purchases"),
    "wish": ("wishes",),
    "purchase": ("purchases", "bad_case_purchases"),
    "visit": ("bad_case_purchases",),
    "search": ("search_carts",),
}
COLUMNS = ["dataset", "preset", "city", "quantity", "ours", "published", "published_scaled"]


class TableIII(Exhibit):
    name = "table_iii"
    title = "ESMC Table III: the cities"
    needs = "funnel tables"
    order = 10

    @classmethod
    def applies(cls, study: Study) -> bool:
        """The shop of the ESM² paper has a table of its own."""
        return study.dataset.partition("-")[0] != DATASETS["esm2"]

    def build(self, study: Study, folder: Path) -> str:
        frame = pd.DataFrame([row for city in study.cities for row in _rows(study, city)], columns=COLUMNS)
        self.write_csv(frame, folder)
        values = frame.set_index(["city", "quantity"]).to_dict("index")
        parts = ["Whole funnel tables, all splits. Sparsities are shares of the exposures, as in the paper."]
        if frame.published.notna().any():
            parts[0] += (
                " The paper's counts stand below ours, times the scale of the simulation. The paper cuts its counts"
                " to whole millions (thousands for items), so its sparsities say more than its purchases."
            )
        for columns in (PAPER, OURS):
            rows = [
                [style.city_title(city), *(_cell(name, values[city, name]) for name in columns)]
                for city in study.cities
            ]
            parts.append(table(["City", *columns.values()], rows))
        parts.append(
            "A *bad case* is a purchase without a cart in its visit; carts are exposures with a cart in the same visit;"
            " carts from search are events of the search domain."
        )
        return "\n\n".join(parts)


def statistics(manifest: Manifest | None) -> dict[str, float]:
    """PAPER and OURS quantities of one city; NaN where the manifest does not count them, or the log lacks them."""
    counts: dict[str, float] = {} if manifest is None else {name: float(n) for name, n in manifest.counts.items()}
    for fact in manifest.lacks if manifest is not None else ():
        for name in COUNTED.get(fact, ()):
            counts.pop(name, None)
    found = {name: counts.get(name, math.nan) for name in (*PAPER, *OURS)}
    found["click_sparsity"] = _ratio(counts, "clicks", "exposures")
    found["purchase_sparsity"] = _ratio(counts, "purchases", "exposures")
    found["exposures_per_visit"] = _ratio(counts, "exposures", "visits")
    found["bad_case_share"] = _ratio(counts, "bad_case_purchases", "purchases")
    return found


def _ratio(counts: dict[str, float], part: str, whole: str) -> float:
    return counts[part] / counts[whole] if part in counts and counts.get(whole) else math.nan


def _rows(study: Study, city: str) -> list[tuple[object, ...]]:
    manifest = study.manifest(city)
    paper = study.published.table_iii.cities.get(city) if is_published(study.dataset) else None
    published: dict[str, float] = paper.model_dump() if paper is not None else {}
    scale = 1.0 if manifest is None else float(manifest.settings.get("scale", 1.0))
    rows: list[tuple[object, ...]] = []
    for name, ours in statistics(manifest).items():
        printed = published.get(name, math.nan)
        scaled = printed if name.endswith("_sparsity") else printed * scale
        rows.append((study.dataset, study.preset, city, name, ours, printed, scaled))
    return rows


def _cell(name: str, row: Mapping[Any, Any]) -> str:
    published = None if math.isnan(row["published"]) else _number(name, row["published_scaled"])
    return beside(_number(name, row["ours"]), published)


def _number(name: str, value: float) -> str:
    if math.isnan(value):
        return MISSING
    if name.endswith("_sparsity"):
        return f"{value:.5f}"
    if name == "bad_case_share":
        return f"{value:.1%}"
    return f"{value:.1f}" if name == "exposures_per_visit" else f"{value:,.0f}"
