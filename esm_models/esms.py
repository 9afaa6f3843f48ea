"""ESMS: the Siamese limit of ESMC, one tower for cart and purchase."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb


class ESMS(FunnelModule):
    """One tower learns both labels, so CAR = CVR by construction (ESMC Eq. 18)."""

    name = "esms"
    title = "ESMS"
    source = "ESMC Eq. 18"
    needs: ClassVar[tuple[str, ...]] = ("click", "cart", "purchase", "visit")
    knobs: ClassVar[tuple[str, ...]] = ("weight_car", "calibration")

    def build(self, width: int) -> None:
        self.towers = self.towers_on(width, "ctr", "cvr")

    def compose(self, x: Tensor) -> FunnelOutput:
        logits = self.towers.logits(x)
        ctr, twin = LogProb.from_logit(logits["ctr"]), LogProb.from_logit(logits["cvr"])
        joint = ctr.times(twin)
        return FunnelOutput(ctr=ctr, cvr=twin, ctcvr=joint, car=twin, ctcar=joint)
