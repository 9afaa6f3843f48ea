"""AUCs by block and model, and which models and blocks make a complete set.

A block is a city of a dataset under a preset.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd

from reports import style
from reports.aucs import AUCS, metric_name
from reports.measures import MIN_CLASS
from reports.study import Study

#: Dataset, preset, city.
Block = tuple[str, str, str]
BLOCK = ["dataset", "preset", "city"]
COLUMNS = [*BLOCK, "measure", "model", "value", "n_seeds"]

#: Tests need as many models and blocks: with fewer blocks neither test can reach p < 0.05.
MIN_MODELS, MIN_BLOCKS = 3, 3

#: More blocks than the ESMC paper has cities are worth no model that would be lost for them.
ENOUGH = 6


class Values(NamedTuple):
    """``table``: COLUMNS, the mean over seeds of each block, measure and model, in the order of the studies.

    ``withheld``: by measure, blocks with too few rows of a class. ``uneven``: blocks whose models differ in seeds.
    """

    table: pd.DataFrame
    withheld: dict[str, set[Block]]
    uneven: list[Block]

    def grid(self, measure: str) -> pd.DataFrame:
        """AUCs [blocks, models in the papers' order], NaN where a model is not stored."""
        chosen = self.table[self.table.measure == measure]
        index = pd.MultiIndex.from_frame(chosen[BLOCK].drop_duplicates())
        grid = chosen.set_index([*BLOCK, "model"])["value"].unstack("model")
        return grid.reindex(index=index, columns=style.in_order(chosen.model))


def block_values(studies: Iterable[Study]) -> Values:
    """The recorded AUCs of the test days of every model in its main configuration.

    An AUC over fewer than ``MIN_CLASS`` positives or negatives is withheld. Means are rounded to 12 digits, so that
    equal models tie whatever the order of their seeds.
    """
    found: dict[tuple[str, ...], dict[int, float]] = {}
    withheld: dict[str, set[Block]] = {measure: set() for measure in AUCS}
    seeds: dict[Block, dict[str, set[int]]] = {}
    for study, city in [(each, city) for each in studies for city in each.cities]:
        block = (study.dataset, study.preset, city)
        for record in study.of_city(city):
            if record.key not in study.main:
                continue
            model, seed = record.cell.model, record.cell.seed
            seeds.setdefault(block, {}).setdefault(model, set()).add(seed)
            for measure in AUCS:
                metric = record.metrics.get("test", {}).get(metric_name(measure))
                if metric is not None and min(metric.n_pos, metric.n - metric.n_pos) < MIN_CLASS:
                    withheld[measure].add(block)
                elif metric is not None and metric.value is not None:
                    found.setdefault((*block, measure, model), {})[seed] = metric.value
    rows = [[*key, round(fmean(by_seed.values()), 12), len(by_seed)] for key, by_seed in found.items()]
    uneven = [block for block, of_model in seeds.items() if len({frozenset(each) for each in of_model.values()}) > 1]
    return Values(pd.DataFrame(rows, columns=COLUMNS), withheld, uneven)


def complete_sets(grid: pd.DataFrame) -> list[pd.DataFrame]:
    """One or two parts of ``grid`` without a hole, of two models or more; none where there is nothing to rank.

    The first has the greatest number of models × blocks, where more than ``ENOUGH`` blocks count as ``ENOUGH``. The
    second has the most blocks; it is there only where these are more than those of the first. Sets on which tests
    are possible come before others. Candidates: from every model on, the model that keeps the most blocks is added.
    """
    found = [grid.loc[blocks, models] for models, blocks in _candidates(grid.notna())]
    if not found:
        return []

    def testable(part: pd.DataFrame) -> bool:
        return len(part) >= MIN_BLOCKS and part.shape[1] >= MIN_MODELS

    broad = max(found, key=lambda p: (testable(p), p.shape[1] * min(len(p), ENOUGH), len(p), p.shape[1]))
    deep = max(found, key=lambda part: (testable(part), len(part), part.shape[1]))
    return [broad, deep] if testable(deep) and len(deep) > len(broad) else [broad]


def _candidates(present: pd.DataFrame) -> list[tuple[list[str], np.ndarray]]:
    """Models, and the mask [blocks] of the blocks that have them all."""
    has = present.to_numpy()
    sets: dict[frozenset[int], np.ndarray] = {}
    for start in range(has.shape[1]):
        chosen, blocks = [start], has[:, start]
        while blocks.any():
            if len(chosen) > 1:
                sets[frozenset(chosen)] = blocks
            kept = (has & blocks[:, None]).sum(axis=0)
            kept[chosen] = -1
            following = int(kept.argmax())
            if kept[following] < 0:
                break
            chosen, blocks = [*chosen, following], blocks & has[:, following]
    return [([str(present.columns[place]) for place in sorted(models)], blocks) for models, blocks in sets.items()]


def win_rates(grid: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """In how many blocks the row's model beats the column's (a tie is half), and how many have both.

    Both are [models, models]; nothing is shared on the diagonal.
    """
    values = grid.to_numpy()
    first, second = values[:, :, None], values[:, None, :]
    wins = ((first > second) + 0.5 * (first == second)).sum(axis=0)
    shared = np.isfinite(first - second).sum(axis=0)
    for counts in (wins, shared):
        np.fill_diagonal(counts, 0)
    models = grid.columns
    return pd.DataFrame(wins, index=models, columns=models), pd.DataFrame(shared, index=models, columns=models)
