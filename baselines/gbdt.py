"""GBDT: gradient-boosted trees by LightGBM, one estimator of the click and one of the purchase after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.errors import CellError
from bench.core.seeding import derive
from bench.data.batches import Labels
from bench.data.trees import boost, predict
from bench.modeling.fitted import FittedModule
from bench.modeling.inputs import InputShape
from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb

#: Fields with more ids than this are read as numbers: LightGBM's advice for categories that are many.
CATEGORIES = 256


class GBDT(FittedModule):
    """CTR from all exposures, CVR from the clicked rows, CTCVR their product (ESM² 4.1.3).

    Fields of few ids are categories; bins of numbers and fields of many ids (users, items) are numbers that the trees
    may cut anywhere. Each place of a multi-valued field is a column of its own.
    """

    name = "gbdt"
    title = "GBDT"
    source = "Friedman 2001; baseline of ESM² Table 3, set as in its 4.1.4"
    knobs = ("trees", "tree_depth", "tree_leaf", "tree_rows", "tree_fields")

    trees_ctr: Tensor
    trees_cvr: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for task in ("ctr", "cvr"):
            self.register_buffer(f"trees_{task}", torch.zeros(0, dtype=torch.uint8))

    def fit_rows(self, features: NDArray[np.float32], labels: Labels) -> None:
        clicked = labels.click == 1
        if clicked.sum() < 2:
            raise CellError("GBDT needs two clicked training rows or more, but there are fewer")
        rows = {"ctr": (features, labels.click), "cvr": (features[clicked], np.asarray(labels.purchase)[clicked])}
        for place, (task, (known, label)) in enumerate(rows.items()):

            def after_tree(tree: int, loss: float, task: str = task, place: int = place) -> None:
                trees = self.config.trees
                self.part_done(place * trees + tree, len(rows) * trees, {task: loss}.items())

            text = boost(
                known,
                label,
                self.config,
                seed=derive(self.seed, "trees", task) % 2**31,
                threads=torch.get_num_threads(),
                categorical=categories(self.shape),
                after_tree=after_tree,
            ).model_to_string()
            setattr(self, f"trees_{task}", torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8))

    def compose(self, features: NDArray[np.float32]) -> FunnelOutput:
        threads = torch.get_num_threads()
        ctr, cvr = (
            LogProb.from_logit(torch.from_numpy(predict(bytes(trees.cpu().numpy()), features, threads)).float())
            for trees in (self.trees_ctr, self.trees_cvr)
        )
        return FunnelOutput(ctr=ctr, cvr=cvr, ctcvr=ctr.times(cvr))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """The trees of a saved model, whatever their size."""
        for name in ("trees_ctr", "trees_cvr"):
            if name in state_dict:
                setattr(self, name, state_dict[name].clone())
        return super().load_state_dict(state_dict, strict, assign)


def categories(shape: InputShape) -> list[int]:
    """The columns that are read as categories."""
    columns = shape.by_column(zip(shape.sizes, shape.ordered, strict=True))
    return [column for column, (size, ordered) in enumerate(columns) if size <= CATEGORIES and not ordered]
