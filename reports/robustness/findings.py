"""What is known of the models along one setting of the simulation: AUCs, paired differences, and their trends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.data.tables import Manifest
from bench.metrics._student import quantile, two_sided, welch
from bench.metrics.compare import Contrast, Estimate, Sample, adjust, best_and_second, difference, estimate
from bench.metrics.delong import cluster_variance
from reports.exhibit import HERE, World
from reports.measures import measured
from reports.robustness.axes import CITY, MODELS, Axis, Pair, world_name
from reports.study import Study

#: By measure, what text and pictures call it. All are taken against the true probabilities.
MEASURES = {
    "truth/ctcvr/exposed": "CTCVR-AUC over all exposures",
    "truth/cvr/clicked": "CVR-AUC over clicked rows",
    "truth/cvr/exposed": "CVR-AUC over all exposures",
}

#: Every pair of models, the one that comes later in the papers first.
PAIRS: tuple[Pair, ...] = tuple((second, first) for first, second in itertools.combinations(MODELS, 2))

#: The differences whose trend is tested.
DECISIVE: tuple[Pair, ...] = (
    ("esmc", "esmm"),
    ("esmc", "esm2_chain"),
    ("esms", "esmc"),
    ("esmm", "shared_bottom"),
    ("esm2", "esmm"),
)


@dataclass(frozen=True, eq=False)
class Place:
    """A world as it is stored: ``x`` is its setting as it came out (NaN: not known), ``samples`` are by measure and
    model. What is not stored is absent."""

    name: str
    x: float
    manifest: Manifest | None
    samples: Mapping[str, Mapping[str, Sample]]

    @property
    def stored(self) -> bool:
        return any(self.samples.values())

    def change(self, measure: str, first: str, second: str) -> Contrast | None:
        """First minus second, paired; None where one of them is not stored."""
        samples = self.samples.get(measure, {})
        if first not in samples or second not in samples:
            return None
        found = difference(samples[first], samples[second])
        return None if math.isnan(found.difference) else found


def places(study: Study, axis: Axis) -> list[Place]:
    """The worlds of an axis in its order, stored or not. A model has the same configuration in all: the preset's, or
    the only one that is stored of it in the study's own world."""
    records = study.of_city(CITY)
    variants = {record.cell.model: study.variants[record.key] for record in records if record.key in study.main}
    return [_place(study, axis, world, variants) for world in axis.worlds]


def _place(study: Study, axis: Axis, world: World, variants: Mapping[str, str]) -> Place:
    there = study if world is HERE else study.world(world.knobs, world.size)
    if there is None or CITY not in there.fingerprints:
        return Place(world_name(world), math.nan, None, {})
    manifest = there.manifest(CITY)
    found = measured(there, CITY)
    samples = {
        measure: {
            model: sample
            for model in MODELS
            if (sample := found.sample(measure, model, variants.get(model, ""))) is not None
        }
        for measure in MEASURES
    }
    return Place(world_name(world), math.nan if manifest is None else axis.setting(manifest), manifest, samples)


@dataclass(frozen=True, eq=False)
class Findings:
    """An axis: estimates by (world, measure, model), differences by (world, measure, pair), trends by (measure,
    pair); p-values are corrected over all differences and trends. What is not known is absent."""

    axis: Axis
    places: Sequence[Place]
    estimates: Mapping[tuple[str, str, str], Estimate]
    contrasts: Mapping[tuple[str, str, Pair], Contrast]
    trends: Mapping[tuple[str, Pair], Contrast]

    @property
    def line(self) -> list[Place]:
        """The stored worlds with a known setting, by setting."""
        return sorted((p for p in self.places if p.stored and not math.isnan(p.x)), key=lambda place: place.x)

    def difference(self, world: str, measure: str, first: str, second: str) -> Contrast | None:
        """First minus second; None where it is not known."""
        found = self.contrasts.get((world, measure, (first, second)))
        turned = self.contrasts.get((world, measure, (second, first)))
        return found if turned is None else flipped(turned)

    def order(self, world: str, measure: str) -> list[str]:
        """Models by their mean AUC, the highest first."""
        found = {model: e for (w, m, model), e in self.estimates.items() if (w, m) == (world, measure)}
        return sorted(found, key=lambda model: -found[model].mean)

    def winner(self, world: str, measure: str) -> str | None:
        """The model that is significantly better than every other one."""
        found = {model: self.estimates[world, measure, model] for model in self.order(world, measure)}
        pairs = {pair: c for (w, m, pair), c in self.contrasts.items() if (w, m) == (world, measure)}
        compared = all((a, b) in pairs or (b, a) in pairs for a, b in itertools.combinations(found, 2))
        return best_and_second(found, pairs)[0] if compared and len(found) > 1 else None


def findings(study: Study, axis: Axis) -> Findings:
    """All that is known of an axis."""
    found = places(study, axis)
    estimates = {
        (place.name, measure, model): estimate(sample)
        for place in found
        for measure, samples in place.samples.items()
        for model, sample in samples.items()
    }
    contrasts = changes(found, PAIRS)
    trends = {
        (measure, pair): trend
        for measure in MEASURES
        for pair in DECISIVE
        if (trend := trend_of(axis, found, measure, pair)) is not None
    }
    adjusted: Mapping[Any, Contrast] = adjust({**contrasts, **trends})
    return Findings(
        axis, found, estimates, {key: adjusted[key] for key in contrasts}, {key: adjusted[key] for key in trends}
    )


def changes(found: Iterable[Place], pairs: Collection[Pair]) -> dict[tuple[str, str, Pair], Contrast]:
    """The differences that are known, by world, measure and pair."""
    return {
        (place.name, measure, pair): change
        for place in found
        for measure in MEASURES
        for pair in pairs
        if (change := place.change(measure, *pair)) is not None
    }


def trend_of(axis: Axis, found: Iterable[Place], measure: str, pair: Pair) -> Contrast | None:
    """How much a difference changes from the lowest to the highest setting; None with less than two settings.

    It is read off a straight line (over the logarithm of a size) fitted by least squares. Worlds weigh by their
    exposures, not by their errors: those are themselves estimated from few seeds. The errors of worlds are added.
    """
    known = [
        (axis.scale(place.x), place.manifest.counts.get("exposures", 1), change)
        for place in found
        if place.manifest is not None and not math.isnan(place.x)
        if (change := place.change(measure, *pair)) is not None
    ]
    x, weight = np.array([row[0] for row in known]), np.array([row[1] for row in known], dtype=float)
    if len(known) < 2 or np.ptp(x) == 0:
        return None
    middle = np.average(x, weights=weight)
    parts = np.ptp(x) * weight * (x - middle) / (weight @ (x - middle) ** 2)
    contrasts = [row[2] for row in known]
    value = float(parts @ [c.difference for c in contrasts])
    se, dof = welch([(part * c.se) ** 2 for part, c in zip(parts, contrasts, strict=True)], [c.dof for c in contrasts])
    return _contrast(value, se, dof, min(c.n_seeds for c in contrasts))


def mean_of(found: Iterable[Place], measure: str, pair: Pair) -> Contrast | None:
    """The mean of a difference over worlds; None where no world, or no seed of all worlds, has both models.

    The worlds have their users in common, and seeds their first weights and order. So the mean is taken seed by seed,
    and the error over users is that of worlds that err in common, the largest that it can be.
    """
    both = [(p.samples[measure][pair[0]], p.samples[measure][pair[1]]) for p in found if p.change(measure, *pair)]
    seeds = sorted(set.intersection(*({*a.seeds} & {*b.seeds} for a, b in both))) if both else []
    if not seeds:
        return None
    taken = [(first.take(seeds), second.take(seeds)) for first, second in both]
    by_seed = np.mean([a - b for (a, _), (b, _) in taken], axis=0)
    of_users = np.mean([math.sqrt(cluster_variance((s - t).mean(axis=0))) for (_, s), (_, t) in taken])
    variances, dofs = [float(of_users**2)], [min(s.shape[1] for (_, s), _ in taken) - 1.0]
    if len(seeds) > 1:
        variances.append(float(by_seed.var(ddof=1)) / len(seeds))
        dofs.append(len(seeds) - 1.0)
    return _contrast(float(by_seed.mean()), *welch(variances, dofs), len(seeds))


def flipped(contrast: Contrast) -> Contrast:
    """Second minus first."""
    return replace(contrast, difference=-contrast.difference, lo=-contrast.hi, hi=-contrast.lo)


def _contrast(value: float, se: float, dof: float, n_seeds: int) -> Contrast:
    p_value, reach = two_sided(value, se, dof), quantile(dof, 0.95) * se
    return Contrast(value, value - reach, value + reach, p_value, p_value, se, n_seeds, dof)
