"""Models with and without Sample Calibration: entries, changed labels, and the level of their predictions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np

from bench.metrics._arrays import Array, Float
from bench.metrics.compare import Contrast, Sample, difference
from reports import style
from reports.gains.values import Extra, Gain, only_mean
from reports.measures import Entry
from reports.pooled import constant, log_ratio, weighted_mean
from reports.predictions import Predictions, predictions
from reports.study import Study

#: The paper's model, and the other one that is calibrated.
MODELS = ("esmc", "esms")

#: What becomes of the cart label of the earlier visit; ``none``: there is no calibration.
MODES = ("none", "copy", "move")

#: Pairs of modes that are compared, first over second.
PAIRS = (("copy", "none"), ("move", "none"), ("copy", "move"))

#: What is predicted, over clicked rows, and against which label.
LEVELS = {"car": "cart", "cvr": "purchase"}


class Labels(NamedTuple):
    """Bad-case purchases among the training rows, those that found a cart, and how many labels each mode changed."""

    bad_cases: int
    matched: int
    changed: dict[str, int]


def entry(study: Study, model: str, mode: str) -> Entry:
    """A model with this calibration."""
    return model, study.variant_of({"calibration": mode})


def title(model: str, mode: str) -> str:
    """``ESMC⁻``, ``ESMC``, ``ESMC (move)``."""
    return {"none": f"{style.title(model)}⁻", "copy": style.title(model)}.get(mode, f"{style.title(model)} ({mode})")


def titles(study: Study) -> dict[Entry, str]:
    """Of all that the exhibit compares."""
    return {entry(study, model, mode): title(model, mode) for model, mode in product(MODELS, MODES)}


def gain(study: Study, model: str, measure: str, first: str = "copy", second: str = "none") -> Gain:
    """Of a model with one mode over itself with another."""
    return Gain(measure, entry(study, model, first), entry(study, model, second))


def labels(study: Study, city: str) -> Labels | None:
    """What calibration did to the training labels of a city, as its cells noted it; None where none did."""
    wanted = {entry(study, model, mode): mode for model, mode in product(MODELS, MODES)}
    counts: dict[str, int] = {}
    changed: dict[str, int] = {}
    for record in study.of_city(city):
        mode = wanted.get((record.cell.model, study.variants[record.key]))
        if mode is not None and {"bad_cases", "matched_carts", "changed_labels"} <= record.notes.keys():
            counts = {name: int(record.notes[name]) for name in ("bad_cases", "matched_carts")}
            changed[mode] = int(record.notes["changed_labels"])
    return Labels(counts["bad_cases"], counts["matched_carts"], changed) if counts else None


def level(study: Study, metric: str, of: Entry) -> float:
    """A test metric of an entry, e.g. ``pcoc/car/clicked``: its mean over seeds, then over cities; NaN without any."""
    by_city: dict[str, list[float]] = {}
    for record in study.records:
        found = record.metrics.get("test", {}).get(metric)
        if (record.cell.model, study.variants[record.key]) == of and found is not None and found.value is not None:
            by_city.setdefault(record.cell.city, []).append(found.value)
    means = [math.fsum(values) / len(values) for values in by_city.values()]
    return math.fsum(means) / len(means) if means else math.nan


def shift(model: str, probability: str, first: str, second: str) -> Extra:
    """The comparison of the level of a prediction: the logarithm of first over second."""
    return Extra(f"{title(model, first)} over {title(model, second)}", f"pcoc/{probability}/clicked", "log ratio")


def shifts(study: Study) -> Iterator[tuple[Extra, Mapping[str, Contrast]]]:
    """How far calibration moves PCOC, as means over cities: where the true probabilities are known."""
    wanted = titles(study)
    by_city: dict[Extra, dict[str, Contrast]] = {}
    for city in study.cities:
        found = predictions(study, city, wanted)
        samples = {} if found is None else _levels(found)
        for model, probability, (first, second) in product(MODELS, LEVELS, PAIRS):
            ends = [samples.get((entry(study, model, mode), probability)) for mode in (first, second)]
            if ends[0] is not None and ends[1] is not None:
                contrast = difference(ends[0], ends[1])
                if not math.isnan(contrast.difference):
                    by_city.setdefault(shift(model, probability, first, second), {})[city] = contrast
    for key, contrasts in by_city.items():
        yield key, only_mean(contrasts)


def _levels(found: Predictions) -> dict[tuple[Entry, str], Sample]:
    """The logarithm of PCOC by entry and probability."""
    clicked = found.columns["click"] == 1
    samples = {}
    for (of, seeds), (probability, label) in product(found.cells.items(), LEVELS.items()):
        if all(probability in columns for columns in seeds.values()):
            means = {seed: _mean(found, columns[probability], clicked) for seed, columns in seeds.items()}
            predicted = Sample.of(means)
            observed = constant(_mean(found, found.columns[label], clicked), predicted)
            samples[of, probability] = log_ratio(predicted, observed)
    return samples


def _mean(found: Predictions, values: Array, chosen: Array) -> tuple[float, Float]:
    return weighted_mean(values[chosen], np.ones(int(chosen.sum())), found.user[chosen], found.n_users)
