"""The classic CVR estimator, learned from clicked rows only: the sample selection bias that ESMM set out to remove."""

from __future__ import annotations

from torch import Tensor

from bench.data.batches import Labels
from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput


class ClickedCvrModule(FunnelModule):
    """CTR loss over exposures, CVR loss over clicked rows; CTCVR = CTR × CVR has no loss of its own."""

    def losses(self, output: FunnelOutput, labels: Labels) -> dict[str, Tensor]:
        return {
            "ctr": self.config.weight_ctr * output.ctr.cross_entropy(labels.click).mean(),
            "cvr": self.config.weight_cvr
            * weighted_mean(output.cvr.cross_entropy(labels.purchase), self.cvr_rows(labels)),
        }

    def cvr_rows(self, labels: Labels) -> Tensor:
        """Weight [B] of each row in the CVR loss."""
        return labels.click


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Mean of losses [B] with weights [B]: 0 or at least 1, as those of rows that were drawn so often; 0 if all are."""
    return (losses * weights).sum() / weights.sum().clamp_min(1.0)
