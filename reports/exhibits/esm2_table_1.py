"""ESM² Table 1: statistics of the data, ours beside the published ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from bench.data.tables import SPLITS, Manifest
from reports import style
from reports.esm2.impossible import contradictions
from reports.esm2.paper import is_published
from reports.exhibit import Exhibit
from reports.markdown import MISSING, table
from reports.published import load_printed
from reports.study import Study

#: Count of the manifest → what the table calls it. The paper has those of PRINTED.
COUNTS = {
    "users": "Users",
    "items": "Items",
    "exposures": "Exposures",
    "clicks": "Clicks",
    "carts": "Clicks with a cart",
    "wishes": "Clicks with a wish",
    "actions": "Clicks with an action (cart or wish)",
    "purchases": "Purchases",
    "oaction_purchases": "Purchases without an action",
}
PRINTED = {"users": "users", "items": "items", "exposures": "impressions", "clicks": "clicks"} | {
    name: name for name in ("actions", "purchases")
}

#: Rate → (what the table calls it, part, whole, field of the paper's text).
RATES = {
    "clicked": ("Exposures that are clicked", "clicks", "exposures", "clicked"),
    "bought_of_clicked": ("Clicks that are bought", "purchases", "clicks", "bought_of_clicked"),
    "carted": ("Clicks with a cart", "carts", "clicks", "carted"),
    "wished": ("Clicks with a wish", "wishes", "clicks", "wished"),
    "acted": ("Clicks with an action", "actions", "clicks", "acted"),
    "bought_per_action": ("Purchases per action", "purchases", "actions", "bought_of_actions_over"),
    "bought_of_acted": ("Actions that are bought", "daction_purchases", "actions", "bought_of_acted"),
    "without_action": ("Purchases without an action", "oaction_purchases", "purchases", ""),
}

#: What the counts of a split are shown of.
OF_SPLIT = {"exposures": "Exposures", "clicks": "Clicks", "actions": "Actions", "purchases": "Purchases"}

COLUMNS = ["dataset", "preset", "city", "quantity", "unit", "ours", "published", "published_scaled", "text"]

SCALED = "The paper's counts (Table 1) are times the scale of the simulation; *Text* is what the paper says in words."


class Esm2Table1(Exhibit):
    name = "esm2_table_1"
    title = "ESM² Table 1: the data"
    needs = "funnel tables"
    order = 200
    paper = "esm2"

    def build(self, study: Study, folder: Path) -> str:
        rows = [row for city in study.cities for row in _rows(study, city)]
        found = pd.DataFrame(rows, columns=COLUMNS)
        self.write_csv(found, folder)
        parts = ["Whole funnel tables, all splits."]
        if is_published(study):
            parts[0] += f" {SCALED}"
        for unit, heading in (("count", "Counts"), ("percent", "Rates, %")):
            parts.append(_table(study, found[found.unit == unit], heading))
        parts += _splits(study)
        if is_published(study) and (lines := list(contradictions(load_printed()))):
            parts += ["#### What cannot hold together in the paper", "\n".join(f"- {line}" for line in lines)]
        return "\n\n".join(parts)


def counts_of(manifest: Manifest | None) -> dict[str, float]:
    """COUNTS and purchases after an action; those that the manifest does not have are left out."""
    found: dict[str, float] = {} if manifest is None else {n: float(c) for n, c in manifest.counts.items()}
    if "purchases" in found and "oaction_purchases" in found:
        found["daction_purchases"] = found["purchases"] - found["oaction_purchases"]
    return found


def percent(counts: Mapping[str, float], part: str, whole: str) -> float:
    """NaN where one is not counted, or there is nothing."""
    return 100 * counts[part] / counts[whole] if part in counts and counts.get(whole) else math.nan


def _rows(study: Study, city: str) -> Iterator[tuple[object, ...]]:
    """Ours, the paper's, the paper's times the scale, and its text's."""
    manifest = study.manifest(city)
    ours, nan = counts_of(manifest), math.nan
    scale = 1.0 if manifest is None else float(manifest.settings.get("scale", 1.0))
    table_1, text = study.published.esm2_table_1.model_dump(), study.published.esm2_text.model_dump()
    known = is_published(study)
    printed = {name: float(table_1[PRINTED[name]]) for name in PRINTED} if known else {}
    of = study.dataset, study.preset, city
    for name in COUNTS:
        paper = printed.get(name, nan)
        yield *of, name, "count", ours.get(name, nan), paper, paper * scale, nan
    for name, (_, part, whole, in_text) in RATES.items():
        paper = percent(printed, part, whole)
        yield (
            *of,
            name,
            "percent",
            percent(ours, part, whole),
            paper,
            paper,
            text[in_text] if known and in_text else nan,
        )


def _table(study: Study, found: pd.DataFrame, heading: str) -> str:
    """One row per quantity: ours by city, then the paper's."""
    titles = COUNTS | {name: title for name, (title, *_) in RATES.items()}
    digits = ",.0f" if (found.unit == "count").all() else ".2f"
    values = found.set_index(["quantity", "city"]).to_dict("index")
    papers = {"published_scaled": "Paper, Table 1", "text": "Paper, text"}
    columns = [column for column in papers if found[column].notna().any()]
    rows = []
    for name in dict.fromkeys(found.quantity):
        row = [titles[name], *(_number(values[name, city]["ours"], digits) for city in study.cities)]
        for column in columns:
            row.append(_number(values[name, study.cities[0]][column], "g" if column == "text" else digits))
        rows.append(row)
    ours = [f"Ours, {style.city_title(city)}" for city in study.cities]
    return table([heading, *ours, *(papers[column] for column in columns)], rows)


def _splits(study: Study) -> Iterator[str]:
    """What training, validation and test rows hold."""
    rows = []
    for city in study.cities:
        counts = counts_of(study.manifest(city))
        for split in SPLITS:
            numbers = [counts.get(f"{split}_{name}", math.nan) for name in OF_SPLIT]
            if not all(map(math.isnan, numbers)):
                rows.append([f"{style.city_title(city)}, {split}", *(_number(number, ",.0f") for number in numbers)])
    if rows:
        yield table(["Split", *OF_SPLIT.values()], rows)


def _number(value: float, digits: str) -> str:
    return MISSING if math.isnan(value) else f"{value:{digits}}"
