"""AITM: adaptive information transfer along the funnel."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.batches import Labels
from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb
from bench.nn.mlp import Towers
from bench.nn.transfer import Transfer

STEPS = ("ctr", "ctcar", "ctcvr")


class AITM(FunnelModule):
    """Click → action → purchase: each step has a tower, whose vector takes in what the step before hands on, by
    attention over the two, and a logit. CTR, CTCAR and CTCVR are learned over all exposures, each with an output of
    its own; a calibrator, the mean of max(p_t - p_t-1, 0) over both transitions, holds them in order. The paper's
    funnel is a strict sequence; here purchases without an action exist, and the calibrator takes no notice of them.

    CVR = CTCVR / CTR and CAR = CTCAR / CTR are derived, and clipped at 1 where the order is violated; the record's
    notes say for what share of the last training batch that was so.
    """

    name = "aitm"
    title = "AITM"
    source = "Xi et al., KDD 2021"
    needs = ("click", "cart", "purchase")
    knobs = ("weight_car", "weight_calibrator")
    unweighted = ("calibrator",)

    def build(self, width: int) -> None:
        config = self.config
        self.towers = Towers(STEPS, width, config.hidden, None, config.activation, config.dropout)
        width = config.hidden[-1]
        self.to_ctcar, self.to_ctcvr = (Transfer(width, config.activation, config.dropout) for _ in STEPS[1:])
        self.heads = Towers(STEPS, width, (), 1)

    def compose(self, x: Tensor) -> FunnelOutput:
        click, action, purchase = self.towers(x)
        action = self.to_ctcar(click, action)
        purchase = self.to_ctcvr(action, purchase)
        logits = self.heads.logits(torch.stack([click, action, purchase]))
        ctr, ctcar, ctcvr = (LogProb.from_logit(logits[step]) for step in STEPS)
        return FunnelOutput(ctr=ctr, cvr=ctcvr.divide(ctr), ctcvr=ctcvr, car=ctcar.divide(ctr), ctcar=ctcar)

    def losses(self, output: FunnelOutput, labels: Labels) -> dict[str, Tensor]:
        assert output.ctcar is not None
        ctr, ctcar, ctcvr = (p.yes.exp() for p in (output.ctr, output.ctcar, output.ctcvr))
        self.noted |= {name: (p > ctr).double().mean() for name, p in (("clipped_car", ctcar), ("clipped_cvr", ctcvr))}
        calibrator = ((ctcar - ctr).relu() + (ctcvr - ctcar).relu()).mean()
        return super().losses(output, labels) | {"calibrator": self.config.weight_calibrator * calibrator}
