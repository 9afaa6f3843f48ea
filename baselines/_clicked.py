"""The classic CVR estimator, learned from clicked rows only: the sample selection bias that ESMM set out to remove."""

from __future__ import annotations

from torch import Tensor

from bench.data.batches import Labels
from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput


class ClickedCvrModule(FunnelModule):
    """CTR loss over exposures, CVR loss over clicked rows; CTCVR = CTR × CVR has no loss of its own."""

    def losses(self, output: FunnelOutput, labels: Labels) -> dict[str, Tensor]:
        click = labels.click
        clicked = (output.cvr.cross_entropy(labels.purchase) * click).sum() / click.sum().clamp_min(1.0)
        return {
            "ctr": self.config.weight_ctr * output.ctr.cross_entropy(click).mean(),
            "cvr": self.config.weight_cvr * clicked,
        }
