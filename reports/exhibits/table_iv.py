"""ESMC Table IV: CTR-AUC, CTCVR-AUC and CVR-AUC of every model and city, beside the published values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from scipy.stats import kendalltau

from reports import style
from reports.aucs import ALPHA, AUCS, Aucs, metric_name, study_aucs
from reports.exhibit import Demand, Exhibit
from reports.markdown import MISSING, beside, details, table
from reports.measures import MIN_CLASS
from reports.study import Study

READING = f"""\
Every value is the mean over seeds ± half of its 95 % interval, which covers the choice of test users and, from two
seeds on, of seeds. **Bold** is significantly better than every other model; where there is one, *italic* is the second
best if it is significantly better than the rest (paired by user, p < {ALPHA} after Holm's correction within a city and
metric). Unmarked means that the data do not tell. The paper's value stands below ours. An AUC over fewer than
{MIN_CLASS} positives or negatives is withheld."""

NOTE = """\
*Improvement* is the paper's: the relative increase of the best model of the ESMC family over the best of all other
models (here more are among them than in the paper, ESM² for one); `*` marks a significant difference of these two.
*Ceiling* is the AUC of the true probabilities."""


#: One row of a frame, by column.
Row = Mapping[Any, Any]


class Order(NamedTuple):
    """How our order of models agrees with the published one in one city."""

    models: int
    tau: float
    reversed_significantly: list[str]
    reversed: list[str]


class TableIV(Exhibit):
    name = "table_iv"
    title = "ESMC Table IV: models compared"
    needs = "stored predictions"
    order = 20
    paper = "esmc"
    demands = (Demand(("shared_bottom", "mmoe", "esmm", "esm2", "esm2_chain", "esms", "esmc")),)

    @classmethod
    def applies(cls, study: Study) -> bool:
        """It compares models under any protocol."""
        return True

    def build(self, study: Study, folder: Path) -> str:
        aucs = study_aucs(study)
        self.write_csv(aucs.table, folder)
        parts = [READING]
        for probability, paper_name in AUCS.items():
            metric = metric_name(probability)
            parts += [f"#### {paper_name} (`{metric}`)", _metric_table(study, aucs, probability)]
            parts += _agreement(study, aucs, metric)
        parts.append(NOTE)
        parts += _ceiling_shares(aucs)
        parts += _variants(study, aucs)
        return "\n\n".join(parts)


def improvement(aucs: Aucs, city: str, metric: str) -> tuple[float, bool]:
    """Relative increase (percent) of the best of the family over the best baseline, and whether significant."""
    plain = _plain(aucs.table, city, metric).dropna(subset="mean").set_index("model")["mean"]
    own = plain[plain.index.isin(style.FAMILY)]
    other = plain[~plain.index.isin(style.FAMILY)]
    if own.empty or other.empty:
        return math.nan, False
    ours, baseline = str(own.idxmax()), str(other.idxmax())
    significant = aucs.beats(city, metric, ours, baseline) or aucs.beats(city, metric, baseline, ours)
    return float(100 * (own.max() / other.max() - 1)), significant


def order(aucs: Aucs, city: str, metric: str) -> Order | None:
    """Kendall's tau between our order and the published one; None below two models with both values."""
    both = _plain(aucs.table, city, metric).dropna(subset=["mean", "published"]).set_index("model")
    if len(both) < 2:
        return None
    significant: list[str] = []
    indistinct: list[str] = []
    for first, second in combinations(both.sort_values("published", ascending=False).index, 2):
        if both.published[first] == both.published[second] or both["mean"][first] >= both["mean"][second]:
            continue
        text = f"{style.title(str(second))} above {style.title(str(first))}"
        (significant if aucs.beats(city, metric, str(second), str(first)) else indistinct).append(text)
    tau = float(kendalltau(both["mean"], both.published).statistic)
    return Order(len(both), tau, significant, indistinct)


def _plain(frame: pd.DataFrame, city: str, metric: str) -> pd.DataFrame:
    return frame[(frame.city == city) & (frame.metric == metric) & frame.main]


def _metric_table(study: Study, aucs: Aucs, probability: str) -> str:
    metric = metric_name(probability)
    frame = aucs.table[aucs.table.metric == metric]
    stored = frame[frame.main].set_index(["city", "model"]).to_dict("index")
    rows = []
    for model in (each for each in study.models if each not in style.GLOBAL):
        published = [study.published.auc(study.dataset, city, model, probability) for city in study.cities]
        values = [_value(stored.get((city, model))) for city in study.cities]
        rows.append(
            [
                style.title(model),
                *(beside(v, None if p is None else f"{p:.5f}") for v, p in zip(values, published, strict=True)),
            ]
        )
    gains = []
    for city in study.cities:
        percent, significant = improvement(aucs, city, metric)
        printed = study.published.improvement(study.dataset, city, probability)
        star = r"\*" if significant else ""
        ours = MISSING if math.isnan(percent) else f"{percent:+.3f} %{star}"
        gains.append(beside(ours, None if printed is None else f"{printed:+.3f} %"))
    rows.append(["Improvement", *gains])
    cities = frame.drop_duplicates("city").set_index("city").to_dict("index")
    if frame.ceiling.notna().any():
        ceilings = [cities[city]["ceiling"] if city in cities else math.nan for city in study.cities]
        rows.append(["Ceiling", *(MISSING if math.isnan(ceiling) else f"{ceiling:.4f}" for ceiling in ceilings)])
    rows.append(["Positives of rows", *(_counts(cities.get(city)) for city in study.cities)])
    return table(["Model", *map(style.city_title, study.cities)], rows)


def _value(row: Row | None) -> str:
    if row is None:
        return MISSING
    if math.isnan(row["mean"]):
        negatives = row["n"] - row["n_pos"]
        few = f"{row['n_pos']} positives" if row["n_pos"] < MIN_CLASS else f"{negatives} negatives"
        return f"withheld: {few}"
    mean = f"{row['mean']:.4f}"
    mean = {"best": f"**{mean}**", "second": f"*{mean}*"}.get(row["mark"], mean)
    return mean if math.isnan(row["lo"]) else f"{mean} ± {(row['hi'] - row['lo']) / 2:.4f}"


def _counts(row: Row | None) -> str:
    return MISSING if row is None else f"{row['n_pos']:,} of {row['n']:,}"


def _agreement(study: Study, aucs: Aucs, metric: str) -> list[str]:
    """How the order of models compares with the paper's: a sentence and, where it differs, a table."""
    orders = {city: found for city in study.cities if (found := order(aucs, city, metric)) is not None}
    if not orders:
        return []
    same = sum(not (found.reversed_significantly or found.reversed) for found in orders.values())
    certain = sum(len(found.reversed_significantly) for found in orders.values())
    unclear = sum(len(found.reversed) for found in orders.values())
    text = f"**Order against the paper.** In {same} of {len(orders)} cities the order of models is the paper's."
    if not certain + unclear:
        return [text]
    text += (
        f" Pairs of models the other way round, over all cities: {certain} significantly, {unclear} without our data"
        " telling the two apart."
    )
    rows = [
        [
            style.city_title(city),
            str(found.models),
            MISSING if math.isnan(found.tau) else f"{found.tau:+.2f}",
            ", ".join(found.reversed_significantly) or "none",
            ", ".join(found.reversed) or "none",
        ]
        for city, found in orders.items()
    ]
    header = ["City", "Models in both", "Kendall's τ", "Reversed, significant", "Reversed, not distinguishable"]
    return [text, table(header, rows)]


def _ceiling_shares(aucs: Aucs) -> list[str]:
    frame = aucs.table[aucs.table.main & aucs.table.ceiling_share.notna()]
    if frame.empty:
        return []
    found = frame.groupby(["model", "metric"]).ceiling_share.agg(["mean", "min", "max"]).to_dict("index")
    metrics = [metric_name(probability) for probability in AUCS]
    rows = [
        [style.title(model), *(_share(found.get((model, metric))) for metric in metrics)]
        for model in style.in_order(frame.model)
    ]
    intro = "How much of the way from chance (0.5) to the ceiling a model covers: mean over cities (lowest, highest)."
    return ["#### Share of the ceiling", intro, table(["Model", *AUCS.values()], rows)]


def _share(found: Row | None) -> str:
    return MISSING if found is None else f"{found['mean']:.0%} ({found['min']:.0%}, {found['max']:.0%})"


def _variants(study: Study, aucs: Aucs) -> list[str]:
    frame = aucs.table[~aucs.table.main]
    if frame.empty:
        return []
    rows = []
    stored = frame.set_index(["model", "variant", "city", "metric"]).to_dict("index")
    for model, variant, city in frame[["model", "variant", "city"]].drop_duplicates().itertuples(index=False):
        values = [_value(stored.get((model, variant, city, metric_name(probability)))) for probability in AUCS]
        rows.append([style.title(model, variant), style.city_title(city), *values])
    intro = "Configurations other than the preset's, without marks: they were not part of the comparison above."
    return [details("Other configurations", f"{intro}\n\n{table(['Model', 'City', *AUCS.values()], rows)}")]
