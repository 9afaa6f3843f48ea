"""The counterfactual risks of ESCM²: the CVR loss over all exposures, estimated from the clicked ones.

With o = click, e = the CVR loss of a row (known where o = 1), p = the propensity of the click and ê = an imputation of
e, both risks below have the expectation mean(e) over the clicks, if p is right; the doubly robust one also if ê is.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.data.batches import Labels
from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput


def ips_risk(click: Tensor, error: Tensor, propensity: Tensor) -> Tensor:
    """Inverse propensity score: mean of o e / p over B exposures, each [B]."""
    return (click * error / propensity).mean()


def dr_risk(click: Tensor, error: Tensor, propensity: Tensor, imputed: Tensor) -> Tensor:
    """Doubly robust: mean of ê + o (e - ê) / p over B exposures, each [B]."""
    return (imputed + click * (error - imputed) / propensity).mean()


def imputation_loss(click: Tensor, error: Tensor, propensity: Tensor, imputed: Tensor) -> Tensor:
    """What ê learns from: mean of o (e - ê)² / p over B exposures, each [B]."""
    return (click * (error - imputed).square() / propensity).mean()


class Counterfactual(FunnelModule):
    """L = L_CTR + ``weight_risk`` × counterfactual risk of CVR + ``weight_cvr`` × L_CTCVR. The propensity is the
    model's own CTR, at least ``propensity_clip``: where CTR is lower the risk is biased, towards 0, and the record's
    notes say for what share of the last training batch that was so. In the risk it is a constant (our reading):
    else the risk could be lowered by raising the CTR of clicked rows.
    """

    knobs: ClassVar[tuple[str, ...]] = ("propensity_clip", "weight_risk")

    def propensity(self, output: FunnelOutput) -> Tensor:
        """[B], without a gradient."""
        found, least = output.ctr.probability().detach(), self.config.propensity_clip
        self.noted["clipped_propensities"] = (found < least).double().mean()
        return found.clamp_min(least)

    def losses(self, output: FunnelOutput, labels: Labels) -> dict[str, Tensor]:
        error = output.cvr.cross_entropy(labels.purchase)
        return super().losses(output, labels) | self.risks(labels.click, error, self.propensity(output), output)

    def risks(self, click: Tensor, error: Tensor, propensity: Tensor, output: FunnelOutput) -> dict[str, Tensor]:
        """The terms beside those of CTR and CTCVR, from columns [B]."""
        raise NotImplementedError
