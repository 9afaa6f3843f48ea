"""DBMTL: a Bayesian network over the targets, each of which sees those before it."""

from __future__ import annotations

import torch
from torch import Tensor

from baselines._clicked import ClickedCvrModule, weighted_mean
from bench.data.batches import Labels
from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb
from bench.nn.mlp import Towers

#: The targets along the chain.
TARGETS = ("ctr", "car", "cvr")


class DBMTL(ClickedCvrModule):
    """P(click, action, purchase | x) as a chain. Each target has a tower with all hidden layers but the last, and a
    relation layer with the last one, over its tower's vector and the relation vectors of the targets before it; a
    logit follows. What is minimised is the chain's negative log likelihood: of click over exposures, of action and of
    purchase given a click over clicked rows. Our reading: a target meets those before it by their vectors and not by
    their labels, which are unknown when it is used, so that CVR is P(purchase | click), whatever the action; and what
    the targets share is the input alone.
    """

    name = "dbmtl"
    title = "DBMTL"
    source = "Wang et al., 2019"
    needs = ("click", "cart", "purchase")
    knobs = ("weight_car",)

    def build(self, width: int) -> None:
        config = self.config
        *layers, last = config.hidden
        self.towers = Towers(TARGETS, width, layers, None, config.activation, config.dropout)
        width = layers[-1] if layers else width
        self.click, self.action, self.purchase = (
            Towers((name,), width + last * before, (last,), None, config.activation, config.dropout)
            for before, name in enumerate(TARGETS)
        )
        self.heads = Towers(TARGETS, last, (), 1)

    def compose(self, x: Tensor) -> FunnelOutput:
        vectors: list[Tensor] = []
        for own, relation in zip(self.towers(x), (self.click, self.action, self.purchase), strict=True):
            vectors.append(relation(torch.cat([own, *vectors], 1))[0])
        logits = self.heads.logits(torch.stack(vectors))
        ctr, car, cvr = (LogProb.from_logit(logits[name]) for name in TARGETS)
        return FunnelOutput(ctr=ctr, cvr=cvr, ctcvr=ctr.times(cvr), car=car, ctcar=ctr.times(car))

    def losses(self, output: FunnelOutput, labels: Labels) -> dict[str, Tensor]:
        assert output.car is not None
        action = weighted_mean(output.car.cross_entropy(labels.cart), labels.click)
        return super().losses(output, labels) | {"car": self.config.weight_car * action}
