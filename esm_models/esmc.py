"""ESMC: twin towers for cart and purchase, held together by a constraint on their parameters."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bench.data.batches import Labels
from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb
from bench.nn.twins import TwinTowers
from esm_models._constraint import DIVERGENCES, gaussian


class ESMC(FunnelModule):
    """CTCAR = CTR × CAR and CTCVR = CTR × CVR (ESMC Eq. 13); the twins CAR and CVR are tied by
    D_KL(θ_CTCAR ‖ θ_CTCVR) in one of three readings (ESMC Eq. 12, 17). The twins start equal, so that the
    constraint speaks of what was learned and not of how the dice fell.
    """

    name = "esmc"
    title = "ESMC"
    source = "ESMC Eq. 11-17"
    needs: ClassVar[tuple[str, ...]] = ("click", "cart", "purchase", "visit")
    knobs: ClassVar[tuple[str, ...]] = ("weight_car", "calibration", "constraint", "constraint_weight")
    unweighted: ClassVar[tuple[str, ...]] = ("constraint",)

    def build(self, width: int) -> None:
        config = self.config
        self.towers = TwinTowers(("ctr", "cvr", "car"), width, config.hidden, 1, config.activation, config.dropout)

    def compose(self, x: Tensor) -> FunnelOutput:
        logits = self.towers.logits(x)
        ctr, car, cvr = (LogProb.from_logit(logits[name]) for name in ("ctr", "car", "cvr"))
        return FunnelOutput(ctr=ctr, cvr=cvr, ctcvr=ctr.times(cvr), car=car, ctcar=ctr.times(car))

    def losses(self, output: FunnelOutput, labels: Labels) -> dict[str, Tensor]:
        terms = super().losses(output, labels)
        if self.config.constraint_weight > 0.0:
            cvr, car = self.towers.twins()
            divergence = DIVERGENCES[self.config.constraint](car, cvr)
            terms["constraint"] = self.coefficient("constraint_weight") * divergence
        return terms

    @torch.no_grad()
    def notes(self) -> dict[str, float]:
        """``tower_distance``: the Euclidean distance of θ_CTCAR and θ_CTCVR."""
        distance = (2.0 * gaussian(*self.towers.twins())).sqrt().item()
        return super().notes() | {"tower_distance": distance}
