"""ESMC²: ESMC in the global domain, which also learns the carts that came from search."""

from __future__ import annotations

from esm_models._global import GlobalCarts
from esm_models.esmc import ESMC


class ESMC2(GlobalCarts, ESMC):
    """ESMC whose CTCAR output has a second loss: on carts of both domains, with a weight of its own (ESMC Eq. 19)."""

    name = "esmc2"
    title = "ESMC²"
    source = "ESMC Eq. 19"
    needs = (*ESMC.needs, "search")
    knobs = (*ESMC.knobs, "weight_global")
