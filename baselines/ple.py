"""PLE: progressive layered extraction, experts of each task beside shared ones."""

from __future__ import annotations

from torch import Tensor

from baselines._clicked import ClickedCvrModule
from bench.modeling.outputs import FunnelOutput
from bench.nn.extraction import Extraction
from bench.nn.funnel import LogProb
from bench.nn.mlp import Towers


class PLE(ClickedCvrModule):
    """Extraction levels, then a tower with the last hidden layer for each of CTR and CVR. An expert has all hidden
    layers but the last at the first level, and one layer of the same width at those above it.
    """

    name = "ple"
    title = "PLE"
    source = "Tang et al., RecSys 2020, Eq. 1-8"
    knobs = ("experts", "levels")

    def build(self, width: int) -> None:
        config, tasks = self.config, ("ctr", "cvr")
        *layers, last = config.hidden
        self.extraction = Extraction(
            tasks, config.experts, config.levels, width, layers, config.activation, config.dropout
        )
        self.towers = Towers(tasks, self.extraction.width, (last,), 1, config.activation, config.dropout)

    def compose(self, x: Tensor) -> FunnelOutput:
        logits = self.towers.logits(self.extraction(x))
        ctr, cvr = LogProb.from_logit(logits["ctr"]), LogProb.from_logit(logits["cvr"])
        return FunnelOutput(ctr=ctr, cvr=cvr, ctcvr=ctr.times(cvr))
