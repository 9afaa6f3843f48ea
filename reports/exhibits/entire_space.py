"""The entire space: errors over clicked and unclicked exposures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pandas as pd

from bench.metrics.compare import Estimate
from reports import style
from reports.effects import READING, effect, value
from reports.exhibit import Demand, Exhibit
from reports.markdown import MISSING, details, picture, table
from reports.measures import Entry
from reports.pooled import COLUMNS, Key, tidy_frame
from reports.space.errors import POINTS, SPACES, Errors, study_errors
from reports.space.plots import draw_auc, draw_pcoc, draw_reliability
from reports.space.words import claims
from reports.study import Study
from reports.supply import is_log
from reports.wording import Compared, uneven

INTRODUCTION = """\
Entire-space models were made against *sample selection bias* (ESMC section I, Fig. 1a): a CVR model that learns from
clicked exposures is used on all of them. The papers can measure CVR on clicked exposures only, since nothing is
observed on the others. Here the test rows are simulated, and every exposure, clicked or not, has a true probability of
being bought after a click: the error on **unclicked** exposures can be measured. The papers print no figures on it."""

AUCS = """\
CVR-AUC against the true probabilities: what labels drawn from them would give on average, so it has no noise of labels.
The *ceiling* is the AUC of the true probabilities themselves; the share in brackets is how much of the way from 0.5 to
the ceiling a model covers. Means over cities ± half of the 95 % interval over test users and seeds."""

DIFFERENCES = f"""\
{READING}
First model minus second, means over cities. *Bias* is the difference of AUC on unclicked exposures minus that on
clicked ones: above 0 the first model gains most where Shared Bottom was never trained, which is what entire-space
models are for. *Level* is the difference in error of the level (absolute logarithm of PCOC, below) on unclicked
exposures: below 0 the first is closer to the truth."""

LEVELS = """\
PCOC is the mean predicted over the mean true CVR: above 1 a model predicts too many purchases (geometric mean over
cities, 95 % interval; bold differs from 1). ECE is the mean distance of predicted and true CVR over 15 bins of equal
numbers of rows (mean over seeds and cities). Where tastes that no feature tells drive clicks and purchases alike, as in
the simulation by default, the best that can be learned of a purchase after a click lies above 1 on unclicked exposures,
whatever a model is trained on: compare models there, not with 1 alone."""

CORRELATIONS = """\
Correlation of the predicted with the true CVR: of ranks (Spearman), and of log odds (Pearson). Means over seeds and
cities, without intervals; comparisons rest on the AUC above."""

RELIABILITY = """\
Rows sorted by predicted CVR, in 15 bins of equal numbers: above the black line more is bought than predicted, below it
less; a flat line means that high predictions are not bought more often."""

#: What every model is compared with.
BASES = ("shared_bottom", "esmm")
COMPARED = {
    "auc/clicked": "AUC, clicked",
    "auc/unclicked": "AUC, unclicked",
    "auc_shift": "Bias",
    "level_error": "Level, unclicked",
}

#: Tested against 0 for every model.
TESTED = ("share_shift", "log_pcoc/clicked", "log_pcoc/unclicked", "log_pcoc/exposed", "log_pcoc_shift")
SHOWN = tuple(f"{name}/{space}" for name in ("auc", "ceiling", "share", "mean", "true_mean") for space in SPACES)
HEADINGS = {"clicked": "Clicked", "unclicked": "Unclicked", "exposed": "All"}
POINT_TITLES = {"rank": "ranks", "log_odds": "log odds"}


class EntireSpace(Exhibit):
    name = "entire_space"
    title = "The entire space: errors over clicked and unclicked exposures"
    needs = "stored predictions"
    order = 34
    paper = "esmc"
    demands = (Demand(("shared_bottom", "mmoe", "esmm", "esm2", "esm2_chain", "esms", "esmc")),)

    def build(self, study: Study, folder: Path) -> str:
        errors = study_errors(study)
        if not errors.entries:
            if is_log(study):
                return "Nothing to show: a log has no true probabilities."
            return (
                f"{INTRODUCTION}\n\nNothing to show: no cell with CVR predictions and true probabilities is stored."
                " Only simulated cities have the truth; `bench run --exhibit entire_space` trains them."
            )
        compared = errors.pooled.compare(_keys(errors))
        measures = dict.fromkeys(SHOWN, errors.entries)
        self.write_csv(
            pd.concat([tidy_frame(study, errors.pooled, measures, compared), _points(study, errors)]), folder
        )
        parts = [INTRODUCTION, *_missing(errors, self.demands)]
        parts += ["#### What holds", "\n".join(f"- {line}" for line in claims(errors, compared))]
        parts += ["#### AUC by sample space", AUCS, *uneven(errors.pooled, "auc/unclicked", errors.entries)]
        parts.append(_auc_table(errors))
        paths = {part: self.picture_path(study, folder, part) for part in ("auc", "level", "reliability")}
        draw_auc(study, errors, compared, paths["auc"])
        parts.append(picture(paths["auc"].name, "CVR-AUC of every model over clicked and unclicked exposures"))
        if rows := list(_difference_rows(errors, compared)):
            parts += [
                "#### Differences",
                DIFFERENCES,
                table(["Comparison", *COMPARED.values()], rows),
            ]
        parts += ["#### Level of the predictions", LEVELS, _level_table(errors, compared)]
        draw_pcoc(study, errors, paths["level"])
        draw_reliability(study, errors, paths["reliability"])
        parts.append(picture(paths["level"].name, "mean predicted over mean true CVR by model and sample space"))
        parts += [RELIABILITY, picture(paths["reliability"].name, "true CVR by bins of predicted CVR")]
        parts += ["#### Correlations", CORRELATIONS, _correlation_table(errors)]
        parts.append(details("AUC by city", _city_table(errors)))
        return "\n\n".join(parts)


def _keys(errors: Errors) -> Iterator[Key]:
    """Every comparison of the exhibit."""
    for quantity, entry in product(TESTED, errors.entries):
        yield Key(quantity, entry)
    for first, second in _pairs(errors):
        for quantity in COMPARED:
            yield Key(quantity, first, second)


def _pairs(errors: Errors) -> Iterator[tuple[Entry, Entry]]:
    """Every model against each of the bases, a pair once."""
    done: set[frozenset[Entry]] = set()
    for base, entry in product(filter(None, map(errors.entry, BASES)), errors.entries):
        if entry != base and frozenset((entry, base)) not in done:
            done.add(frozenset((entry, base)))
            yield entry, base


def _missing(errors: Errors, demands: tuple[Demand, ...]) -> list[str]:
    stored = {model for model, _ in errors.entries}
    lacking = [style.title(model) for demand in demands for model in demand.models if model not in stored]
    return [f"Not stored: {', '.join(lacking)}; `bench run --exhibit entire_space` trains them."] if lacking else []


def _points(study: Study, errors: Errors) -> pd.DataFrame:
    """The measures without intervals as rows of the CSV, by city and as the mean over cities."""
    names = ["city", "model", "variant", "space"]
    by_city = errors.points.groupby(names).agg({**dict.fromkeys(POINTS, "mean"), "seed": "nunique"}).reset_index()
    means = by_city.groupby(names[1:]).agg({**dict.fromkeys(POINTS, "mean"), "seed": "min", "city": "nunique"})
    by_city["n_cities"] = 1
    means = means.rename(columns={"city": "n_cities"}).reset_index().assign(city="mean")
    long = pd.concat([by_city, means]).melt([*names, "seed", "n_cities"], list(POINTS), "measure")
    long["measure"] += "/" + long.space
    long = long.rename(columns={"seed": "n_seeds"}).assign(dataset=study.dataset, preset=study.preset)
    return long.reindex(columns=COLUMNS)


def _point(errors: Errors, entry: Entry, measure: str, space: str) -> float:
    """Mean over seeds, then over cities."""
    points = errors.points
    found = points[(points.model == entry[0]) & (points.variant == entry[1]) & (points.space == space)]
    return float(found.groupby("city")[measure].mean().mean())


def _auc_table(errors: Errors) -> str:
    pooled = errors.pooled
    rows = []
    for entry in errors.entries:
        cells = []
        for space in SPACES:
            share = pooled.mean(f"share/{space}", entry)
            text = value(pooled.mean(f"auc/{space}", entry))
            cells.append(text if share is None else f"{text} ({share.mean:.1%})")
        rows.append([style.title(*entry), *cells, str(len(pooled.estimates("auc/unclicked", entry)))])
    ceilings = [_truth(errors, f"ceiling/{space}") for space in SPACES]
    rows.append(["Ceiling", *(value(found) for found in ceilings), ""])
    return table(["Model", *HEADINGS.values(), "Cities"], rows)


def _truth(errors: Errors, quantity: str) -> Estimate | None:
    """A quantity of the truth: the same for all models that are stored for the most cities."""
    most = max(errors.entries, key=lambda entry: len(errors.pooled.estimates(quantity, entry)))
    return errors.pooled.mean(quantity, most)


def _difference_rows(errors: Errors, compared: Compared) -> Iterator[list[str]]:
    for first, second in _pairs(errors):
        found = [compared.get(Key(quantity, first, second)) for quantity in COMPARED]
        if any(found):
            yield [f"{style.title(*first)} − {style.title(*second)}", *map(effect, found)]


def _level_table(errors: Errors, compared: Compared) -> str:
    means = [_truth(errors, f"true_mean/{space}") for space in SPACES]
    rows = [["True mean CVR", *(value(found) for found in means), "", "", ""]]
    for entry in errors.entries:
        ratios = [_ratio(compared, Key(f"log_pcoc/{space}", entry)) for space in SPACES]
        distances = [_point(errors, entry, "ece", space) for space in SPACES]
        rows.append([style.title(*entry), *ratios, *(MISSING if math.isnan(x) else f"{x:.4f}" for x in distances)])
    columns = [f"{title}: {measure}" for measure in ("PCOC", "ECE") for title in HEADINGS.values()]
    return table(["Model", *columns], rows)


def _ratio(compared: Compared, key: Key) -> str:
    """``1.12 [1.08, 1.17]`` from a logarithm, bold where it differs from 1."""
    found = compared.get(key)
    if found is None:
        return MISSING
    mean, lo, hi = (math.exp(x) for x in (found.difference, found.lo, found.hi))
    text = f"**{mean:.3f}**" if effect(found).startswith("**") else f"{mean:.3f}"
    return text if math.isnan(lo) else f"{text} [{lo:.3f}, {hi:.3f}]"


def _correlation_table(errors: Errors) -> str:
    columns = list(product(POINT_TITLES, SPACES))
    rows = []
    for entry in errors.entries:
        found = [_point(errors, entry, measure, space) for measure, space in columns]
        rows.append([style.title(*entry), *(MISSING if math.isnan(x) else f"{x:.3f}" for x in found)])
    return table(["Model", *(f"{HEADINGS[space]}: {POINT_TITLES[name]}" for name, space in columns)], rows)


def _city_table(errors: Errors) -> str:
    cities = list(errors.pooled.samples)
    rows = []
    for entry, space in product(errors.entries, ("clicked", "unclicked")):
        found = errors.pooled.estimates(f"auc/{space}", entry)
        rows.append([f"{style.title(*entry)}, {space}", *(value(found.get(city)) for city in cities)])
    return table(["Model, rows", *map(style.city_title, cities)], rows)
