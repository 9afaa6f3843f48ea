"""The global domain (ESMG): the CTCAR output also learns the carts that came from search."""

from __future__ import annotations

from torch import Tensor

from bench.data.batches import Labels
from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput


class GlobalCarts(FunnelModule):
    """Adds ω4 × L_CTCAR|global to the losses of a model with carts (ESMC Eq. 19); its structure stays."""

    def losses(self, output: FunnelOutput, labels: Labels) -> dict[str, Tensor]:
        terms = super().losses(output, labels)
        assert output.ctcar is not None
        loss = output.ctcar.cross_entropy(labels.click * labels.global_cart).mean()
        return terms | {"ctcar_global": self.coefficient("weight_global") * loss}
