"""ESCM²-IPS: ESMM with the CVR risk of all exposures, by inverse propensity scores."""

from __future__ import annotations

from torch import Tensor

from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb
from esm_models._counterfactual import Counterfactual, ips_risk


class ESCM2IPS(Counterfactual):
    """ESMM and a counterfactual risk of CVR: mean over exposures of o e / p, that is of the CVR loss e of the clicked
    rows (o = 1), weighted by one over the propensity p of their click.
    """

    name = "escm2_ips"
    title = "ESCM²-IPS"
    source = "Wang et al., SIGIR 2022"

    def build(self, width: int) -> None:
        self.towers = self.towers_on(width, "ctr", "cvr")

    def compose(self, x: Tensor) -> FunnelOutput:
        logits = self.towers.logits(x)
        ctr, cvr = LogProb.from_logit(logits["ctr"]), LogProb.from_logit(logits["cvr"])
        return FunnelOutput(ctr=ctr, cvr=cvr, ctcvr=ctr.times(cvr))

    def risks(self, click: Tensor, error: Tensor, propensity: Tensor, output: FunnelOutput) -> dict[str, Tensor]:
        return {"cvr_risk": self.config.weight_risk * ips_risk(click, error, propensity)}
