"""Cells of a swept knob whose AUC is as good as a test wants it, and their AUCs recomputed without our code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from fake_store import Columns, make_cell, store_cell, store_manifest
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from bench.core.cell import Cell
from bench.core.config import PRESETS
from bench.core.seeding import derive
from bench.results.store import Store
from reports.exhibits.figure_5 import GRID

#: Coefficients of the constraint, and how good a model is at each.
WEIGHTS = (0.0, *GRID)
ByWeight = Callable[[float], float]

#: Rows of a cell: enough for every AUC, few enough for tests.
ROWS = 1500


def put(
    store: Store,
    cell: Cell,
    quality: float,
    valid: float | None = None,
    distance: float | None = None,
    buy: float = 1.5,
) -> None:
    """Store a cell; the higher ``quality``, the better its AUCs. Cells of one city and seed err alike."""

    def scores(cell: Cell, columns: Columns) -> Columns:
        shared = np.random.default_rng(derive(cell.seed, cell.city, cell.dataset))
        own = np.random.default_rng(derive(cell.seed, cell.model, cell.city, cell.dataset, str(cell.config)))

        def guess(p: np.ndarray) -> np.ndarray:
            logit = np.log(p + 1e-4) - np.log1p(-p + 1e-4)
            noise = shared.normal(0, 1 / quality, p.size) + own.normal(0, 0.02, p.size)
            return (1 / (1 + np.exp(-logit - noise))).astype(np.float32)

        ctr, cvr = guess(columns["p_click"]), guess(columns["p_purchase"])
        return {"ctr": ctr, "cvr": cvr, "ctcvr": ctr * cvr}

    notes = None if distance is None else {"tower_distance": distance}
    store_cell(store, cell, rows=ROWS, buy=buy, change=scores, notes=notes, valid=valid)


def esmc(city: str, seed: int, weight: float, reading: str = "gaussian") -> Cell:
    changes = {"constraint_weight": weight, "constraint": reading}
    return make_cell(city, "esmc", seed, config=PRESETS["esmc"].model_copy(update=changes))


def fill(
    store: Store,
    quality: ByWeight,
    cities: Sequence[str] = ("1", "2"),
    seeds: int = 2,
    esms: float | None = 1.2,
    readings: Sequence[str] = ("gaussian",),
    distance: Callable[[str, float], float] = lambda reading, weight: 1.0,
    valid: Callable[[str, float], float] = lambda city, weight: 0.7,
    other: Mapping[str, ByWeight] = {},
) -> Store:
    """ESMC as good as ``quality``, or ``other`` of its reading, says of every coefficient; ESMS unless it is None."""
    for city in cities:
        store_manifest(store.out, make_cell(city))
        for seed in range(seeds):
            if esms is not None:
                put(store, make_cell(city, "esms", seed), esms)
            for reading in readings:
                for weight in WEIGHTS if reading == "gaussian" else GRID:
                    apart = distance(reading, weight) * (1 + 0.1 * seed)
                    good = other.get(reading, quality)(weight)
                    put(store, esmc(city, seed, weight, reading), good, valid(city, weight), apart)
    return store


def observed_auc(store: Store, cell: Cell, probability: str) -> float:
    """scikit-learn's AUC from the stored file."""
    found = store.predictions(cell.key)
    rows = found["click"] == 1 if probability == "cvr" else np.full(found["click"].size, True)
    label = found["click"] if probability == "ctr" else found["purchase"] & found["click"]
    return float(roc_auc_score(label[rows], found[probability][rows]))


def true_auc(store: Store, cell: Cell, probability: str) -> float:
    """Expected pairs in right order over expected pairs, over all pairs of two rows; CVR over clicked rows."""
    found = store.predictions(cell.key)
    rows = found["click"] == 1 if probability == "cvr" else np.full(found["click"].size, True)
    click, buy = found["p_click"].astype(float), found["p_purchase"].astype(float)
    p = {"ctr": click, "cvr": buy, "ctcvr": click * buy}[probability][rows]
    s = found[probability][rows]
    right = (s[:, None] > s[None, :]) + 0.5 * (s[:, None] == s[None, :])
    weight = p[:, None] * (1 - p[None, :])
    np.fill_diagonal(weight, 0)
    return float((weight * right).sum() / weight.sum())


def observed_difference(
    store: Store, firsts: list[list[Cell]], seconds: list[list[Cell]]
) -> tuple[float, float, float]:
    """Mean over cities of the paired difference of CTCVR-AUC with its interval; cells by city and seed."""
    means, variances, dofs = [], [], []
    for first, second in zip(firsts, seconds, strict=True):
        areas, sums = [], []
        for a, b in zip(first, second, strict=True):
            area, row = zip(*(_influence(store, cell) for cell in (a, b)), strict=True)
            areas.append(area[0] - area[1])
            sums.append(row[0] - row[1])
        by_user = np.mean(sums, axis=0)
        users, seeds = by_user.size, len(areas)
        parts = [users / (users - 1) * float((by_user**2).sum()), float(np.var(areas, ddof=1)) / seeds]
        total = sum(parts)
        means.append(float(np.mean(areas)))
        variances.append(total)
        dofs.append(total**2 / (parts[0] ** 2 / (users - 1) + parts[1] ** 2 / (seeds - 1)))
    mean = float(np.mean(means))
    shares = np.array(variances) / len(means) ** 2
    dof = shares.sum() ** 2 / (shares**2 / np.array(dofs)).sum()
    reach = float(t.ppf(0.975, dof)) * float(np.sqrt(shares.sum()))
    return mean, mean - reach, mean + reach


def _influence(store: Store, cell: Cell) -> tuple[float, np.ndarray]:
    """AUC of CTCVR and DeLong's influences summed by user, from all pairs."""
    found = store.predictions(cell.key)
    label, score = (found["purchase"] & found["click"]) == 1, found["ctcvr"]
    right = (score[label][:, None] > score[~label][None, :]) + 0.5 * (score[label][:, None] == score[~label][None, :])
    area = float(right.mean())
    rows = np.empty(score.size)
    rows[label] = (right.mean(axis=1) - area) / label.sum()
    rows[~label] = (right.mean(axis=0) - area) / (~label).sum()
    users, codes = np.unique(found["user"], return_inverse=True)
    return area, np.bincount(codes, weights=rows, minlength=users.size)
