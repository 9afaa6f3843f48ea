"""How the ranking of models moves with one setting of the simulation: the grids, declared before any was run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from bench.data.tables import Manifest
from reports.exhibit import HERE, Demand, World
from reports.markdown import MISSING

#: Who takes part, and on which city.
MODELS = ("shared_bottom", "esmm", "esm2", "esm2_chain", "esms", "esmc")
CITY = "6"

#: What the world that was asked for is called beside others.
DEFAULT = "default"

Pair = tuple[str, str]


class Claim(NamedTuple):
    """What the ESMC paper leads one to expect of the difference of two models along an axis: that it rises."""

    pair: Pair
    reason: str


class Axis(NamedTuple):
    """One setting: ``worlds`` in the order of the axis, ``HERE`` among them for the default. ``setting`` tells from
    the manifest how it came out."""

    label: str
    worlds: tuple[World, ...]
    setting: Callable[[Manifest], float]
    kind: Literal["share", "correlation", "size"]
    claim: Claim | None = None

    @property
    def demand(self) -> Demand:
        return Demand(MODELS, cities=(CITY,), worlds=self.worlds)

    def scale(self, x: float) -> float:
        """Where a setting lies on the axis: sizes by their logarithm."""
        return math.log10(x) if self.kind == "size" else x

    def show(self, x: float) -> str:
        """A setting as text."""
        if math.isnan(x):
            return MISSING
        return {"share": f"{100 * x:.1f} %", "correlation": f"{x:g}", "size": f"{x:,.0f}"}[self.kind]


def achieved(name: str) -> Callable[[Manifest], float]:
    """A rate of the simulation as it came out; NaN where the manifest does not tell."""
    return lambda manifest: float(manifest.settings.get("achieved", {}).get(name, math.nan))


def knob(name: str) -> Callable[[Manifest], float]:
    """A knob of the simulation; NaN where the manifest does not tell."""
    return lambda manifest: float(manifest.settings.get("knobs", {}).get(name, math.nan))


def count(name: str) -> Callable[[Manifest], float]:
    """A count of the funnel tables; NaN where the manifest does not tell."""
    return lambda manifest: float(manifest.counts.get(name, math.nan))


#: Share of purchases whose cart lies in an earlier visit (default 0.23).
BAD_CASES = Axis(
    "share of bad-case purchases",
    (
        World({"bad_case_share": 0.0}),
        World({"bad_case_share": 0.1}),
        HERE,
        World({"bad_case_share": 0.4}),
        World({"bad_case_share": 0.6}),
    ),
    achieved("bad_case_share"),
    "share",
    Claim(("esmc", "esm2_chain"), "it blames bad cases for the errors of ESM² chain (section IV)"),
)
#: Correlation of the tastes for clicking and for carting (default 0.5).
CLICK_CART = Axis(
    "correlation of click and cart taste",
    (World({"rho_click_cart": 0.0}), HERE, World({"rho_click_cart": 0.9})),
    knob("rho_click_cart"),
    "correlation",
)
#: Correlation of the tastes for carting and for buying (default 0.5).
CART_BUY = Axis(
    "correlation of cart and buy taste",
    (World({"rho_cart_buy": 0.0}), HERE, World({"rho_cart_buy": 0.9})),
    knob("rho_cart_buy"),
    "correlation",
    Claim(("esms", "esmc"), "it recommends ESMS where carts and purchases are strongly related (section V-D)"),
)
#: Share of carts that are bought in their visit (default 0.85, ESMC V-B: over 80 %).
CONVERSION = Axis(
    "share of carts bought in their visit",
    (World({"same_visit_conversion": 0.4}), World({"same_visit_conversion": 0.6}), HERE),
    achieved("same_visit_conversion"),
    "share",
    Claim(("esms", "esmc"), "it explains ESMS by over 80 % of the carts being bought (section V-B)"),
)
#: Size of the data: 1:10000 to 1:300 where the default is 1:1000.
SIZE = Axis("exposures", (World(size=0.1), World(size=0.3), HERE, World(size=10 / 3)), count("exposures"), "size")
#: Share of search among all carts; see Figure 6.
SEARCH = Axis(
    "share of carts from search",
    (
        World({"search_cart_share": 0.15, "redeemed": 0.9}),
        HERE,
        World({"search_cart_share": 0.5}),
        World({"search_cart_share": 0.7}),
    ),
    achieved("search_cart_share"),
    "share",
)
AXES = {
    "bad_cases": BAD_CASES,
    "click_cart": CLICK_CART,
    "cart_buy": CART_BUY,
    "conversion": CONVERSION,
    "size": SIZE,
    "search": SEARCH,
}


def world_name(world: World) -> str:
    """:data:`DEFAULT`, or what differs from it."""
    parts = [f"{name}={value:g}" for name, value in world.knobs.items()]
    if world.size != 1:
        parts.append(f"{world.size:.3g} times the data")
    return ", ".join(parts) or DEFAULT
