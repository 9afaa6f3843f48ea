"""Gradient-boosted trees as the ESM² paper sets them (its section 4.1.4), by LightGBM, equal on every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.core.config import Config
from bench.core.errors import UserError

if TYPE_CHECKING:
    import lightgbm as lgb


def parameters(config: Config, seed: int, threads: int) -> dict[str, Any]:
    """LightGBM's parameters for logistic loss; equal ones give equal trees.

    The paper's depth bounds a tree that LightGBM grows leaf by leaf, so it may have all leaves of that depth. The
    paper's 20 is the least number of rows of a node that is split; LightGBM bounds a leaf instead. The learning rate is
    not printed: 0.1 is LightGBM's default.
    """
    return {
        "objective": "binary",
        "learning_rate": 0.1,
        "max_depth": config.tree_depth,
        "num_leaves": 2**config.tree_depth,
        "min_data_in_leaf": config.tree_leaf,
        "bagging_fraction": config.tree_rows,
        "bagging_freq": 1,
        "feature_fraction": config.tree_fields,
        "num_threads": threads,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


def boost(
    features: NDArray[np.float32],
    labels: NDArray[Any],
    config: Config,
    *,
    seed: int,
    threads: int,
    categorical: Sequence[int] = (),
    after_tree: Callable[[int, float], None] = lambda tree, loss: None,
) -> lgb.Booster:
    """Trees of 0/1 ``labels`` [n] over ``features`` [n, f].

    Args:
        features: numbers; NaN is missing.
        labels: 0 or 1.
        config: the number, depth, … of trees.
        seed: of the draws of rows and features.
        threads: their number.
        categorical: columns whose numbers, not negative, are categories.
        after_tree: called with the number of trees and the mean log loss over all rows.

    Raises:
        UserError: the system has no OpenMP for LightGBM.
    """
    library = _lightgbm()
    settings = parameters(config, seed, threads)
    data = library.Dataset(features, labels, categorical_feature=list(categorical), params=settings)

    def tell(environment: Any) -> None:
        after_tree(environment.iteration + 1, float(environment.evaluation_result_list[0][2]))

    trees: lgb.Booster = library.train(
        settings | {"metric": "binary_logloss"},
        data,
        num_boost_round=config.trees,
        valid_sets=[data],
        valid_names=["train"],
        callbacks=[tell],
    )
    return trees


def predict(model: bytes, features: NDArray[np.float32], threads: int) -> NDArray[np.float64]:
    """Log odds [n] of ``features`` [n, f] by the trees whose text is ``model``."""
    return np.asarray(_loaded(model).predict(features, raw_score=True, num_threads=threads))


@lru_cache(maxsize=8)
def _loaded(model: bytes) -> lgb.Booster:
    trees: lgb.Booster = _lightgbm().Booster(model_str=model.decode())
    return trees


def _lightgbm() -> Any:
    """The library, which takes a second to import: only where trees grow.

    Raises:
        UserError: the system has no OpenMP for it.
    """
    try:
        import lightgbm
    except OSError as error:
        raise UserError(
            f"LightGBM must find the system's OpenMP, but: {error}; install it (Debian: libgomp1, macOS: libomp)."
        ) from None
    return lightgbm
