"""ESM², as its own paper states it: purchases after an action (a cart, a wish) and purchases without one."""

from __future__ import annotations

from torch import Tensor

from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb


class ESM2(FunnelModule):
    """CVR = y2 y3 + (1 - y2) y4 with y2 = P(action | click), y3 = P(purchase | action), y4 = P(purchase | none).

    Losses of CTR (y1), CTCAR (y1 y2) and CTCVR over the entire space (ESM² Eq. 8-11).
    """

    name = "esm2"
    title = "ESM²"
    source = "Wen et al., SIGIR 2020, Eq. 1-4, 11"
    needs = ("click", "cart", "purchase")
    knobs = ("weight_car",)

    def build(self, width: int) -> None:
        self.towers = self.towers_on(width, "ctr", "car", "cvr", "cvr_without_cart")

    def compose(self, x: Tensor) -> FunnelOutput:
        logits = self.towers.logits(x)
        ctr, car = LogProb.from_logit(logits["ctr"]), LogProb.from_logit(logits["car"])
        after_cart = LogProb.from_logit(logits["cvr"])
        without_cart = LogProb.from_logit(logits["cvr_without_cart"])
        cvr = car.mix(after_cart, without_cart)
        return FunnelOutput(ctr=ctr, cvr=cvr, ctcvr=ctr.times(cvr), car=car, ctcar=ctr.times(car))
