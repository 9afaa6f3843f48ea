"""ESCM²-DR: ESMM with the CVR risk of all exposures, doubly robust."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb
from esm_models._counterfactual import Counterfactual, dr_risk, imputation_loss


class ESCM2DR(Counterfactual):
    """ESMM and a counterfactual risk of CVR: mean over exposures of ê + o (e - ê) / p, where a third tower imputes the
    CVR loss e as ê ≥ 0 (softplus), plus the imputation's own loss, mean of o (e - ê)² / p, with the same weight.

    Our reading of who learns from what, that of doubly robust joint learning (Wang et al., ICML 2019): ê is a constant
    in the risk and e one in the imputation loss. Else the risk could be lowered by imputing less where nobody clicked,
    and the imputation loss by bending the CVR towards ê. Since ê comes from a tower of its own, the CVR tower then has
    the gradient of ESCM²-IPS; what differs is the value of the risk, whose variance is lower, and the embeddings,
    which the imputation trains too. The risk may be negative, so ``task_weighting`` leaves it as it is.
    """

    name = "escm2_dr"
    title = "ESCM²-DR"
    source = "Wang et al., SIGIR 2022"
    unweighted = ("cvr_risk", "imputation")

    def build(self, width: int) -> None:
        self.towers = self.towers_on(width, "ctr", "cvr", "imputation")

    def compose(self, x: Tensor) -> FunnelOutput:
        logits = self.towers.logits(x)
        ctr, cvr = LogProb.from_logit(logits["ctr"]), LogProb.from_logit(logits["cvr"])
        return FunnelOutput(ctr=ctr, cvr=cvr, ctcvr=ctr.times(cvr), imputed=F.softplus(logits["imputation"]))

    def risks(self, click: Tensor, error: Tensor, propensity: Tensor, output: FunnelOutput) -> dict[str, Tensor]:
        assert output.imputed is not None
        risk = dr_risk(click, error, propensity, output.imputed.detach())
        imputation = imputation_loss(click, error.detach(), propensity, output.imputed)
        return {"cvr_risk": self.config.weight_risk * risk, "imputation": self.config.weight_risk * imputation}
