"""ESMS²: ESMS in the global domain, which also learns the carts that came from search."""

from __future__ import annotations

from esm_models._global import GlobalCarts
from esm_models.esms import ESMS


class ESMS2(GlobalCarts, ESMS):
    """ESMS whose one tower also learns the carts of both domains, with a weight of their own (ESMC Eq. 19, ω5 = 0)."""

    name = "esms2"
    title = "ESMS²"
    source = "ESMC Eq. 19"
    needs = (*ESMS.needs, "search")
    knobs = (*ESMS.knobs, "weight_global")
