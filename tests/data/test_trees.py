from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np
import pytest

from bench.core.config import Config
from bench.core.errors import UserError
from bench.data.trees import boost, predict


def test_equal_seeds_give_equal_trees() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 4)).astype(np.float32)
    labels = (rng.random(500) < 1 / (1 + np.exp(-2 * features[:, 1]))).astype(int)
    losses: list[float] = []
    config = Config(trees=5, tree_depth=3)
    texts = [
        boost(features, labels, config, seed=seed, threads=1, after_tree=lambda _, loss: losses.append(loss))
        for seed in (1, 1, 2)
    ]
    first, again, other = (trees.model_to_string() for trees in texts)
    assert first == again != other
    assert losses[:5] == sorted(losses[:5], reverse=True)
    odds = predict(first.encode(), features, threads=1)
    assert np.corrcoef(odds, features[:, 1])[0, 1] > 0.7


def test_a_system_without_openmp_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def missing(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "lightgbm":
            raise OSError("libgomp.so.1: cannot open shared object file")
        return plain(name, *arguments, **more)

    monkeypatch.delitem(sys.modules, "lightgbm", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"must find the system's OpenMP, but: libgomp.so.1.*install it \(Debian"):
        boost(np.zeros((2, 1), dtype=np.float32), np.array([0, 1]), Config(), seed=0, threads=1)
