"""DNN: an estimator of CTR and one of CVR, multiplied."""

from __future__ import annotations

import torch
from torch import Tensor

from baselines._clicked import ClickedCvrModule
from baselines._separate import SeparateInputs
from bench.modeling.inputs import InputShape
from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb


class DNN(ClickedCvrModule):
    """Two estimators that share nothing, not even embeddings; each has a tower like a branch of ESM². That of CTR
    learns from exposures, that of CVR from clicked rows. Its batches are the clicked rows of a batch of exposures.
    """

    name = "dnn"
    title = "DNN"
    source = "ESM² section 4.1.3"

    def make_inputs(self, shape: InputShape) -> SeparateInputs:
        return SeparateInputs(self.config, shape)

    def build(self, width: int) -> None:
        self.towers = self.towers_on(width // 2, "ctr", "cvr")

    def compose(self, x: Tensor) -> FunnelOutput:
        logits = self.towers.logits(torch.stack(x.chunk(2, 1)))
        ctr, cvr = LogProb.from_logit(logits["ctr"]), LogProb.from_logit(logits["cvr"])
        return FunnelOutput(ctr=ctr, cvr=cvr, ctcvr=ctr.times(cvr))
