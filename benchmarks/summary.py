"""What a stored measurement says: medians over rounds, ratios to the fastest peer, shares of the machine's peak."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

MODELS: dict[str, str] = {"mmoe": "MMoE", "shared_bottom": "Shared-Bottom"}
OURS, OURS_FLOAT32 = "ours", "ours, float32"
#: Ours by name → the precision of its products.
OURS_SETUPS: dict[str, str] = {OURS: "auto", OURS_FLOAT32: "float32"}
#: How peers are set up: as their own examples do, or all with our optimiser and without regularisation.
SETUPS: tuple[str, ...] = ("documented", "lean")
#: Aims of the project: samples/s over the fastest peer's, with few and many users; seconds to evaluate a million rows.
WANTED_RATIO: dict[str, float] = {"mmoe": 4.0, "shared_bottom": 5.0}
WANTED_LARGE, LARGE_USERS = 10.0, 5_000_000
WANTED_SECONDS = 3.0
#: Samples/s in training, MMoE and Shared-Bottom, measured earlier on a machine of this kind: two cores.
EARLIER: dict[str, tuple[int, int]] = {
    "torch-rechub": (16_000, 24_000),
    "DeepCTR-Torch": (13_000, 27_000),
    "FuxiCTR": (19_000, 34_000),
    "MTReclib-style": (20_000, 28_000),
}


class Speed(NamedTuple):
    """Median over rounds of samples/s in training, with the slowest and fastest round; seconds of evaluation."""

    rate: float
    low: float
    high: float
    evaluation: float | None


def speed(result: dict[str, Any], contestant: str, model: str) -> Speed:
    """Of one contestant and model."""
    measured = result["contestants"][contestant]
    rows = result["settings"]["steps"] * result["settings"]["batch"]
    rates = sorted(rows / seconds for seconds in measured["train"][model])
    evaluations = measured["evaluate"][model]
    return Speed(statistics.median(rates), rates[0], rates[-1], statistics.median(evaluations) if evaluations else None)


def fastest_peer(result: dict[str, Any], model: str, setup: str = "documented") -> str | None:
    """The peer with the highest median rate, None where no peer was measured."""
    measured = result["contestants"].items()
    peers = [name for name, found in measured if name not in OURS_SETUPS and found["setup"] == setup]
    return max(peers, key=lambda name: speed(result, name, model).rate, default=None)


def ratio(result: dict[str, Any], model: str, setup: str = "documented", ours: str = OURS) -> float | None:
    """Our samples/s over the fastest peer's."""
    peer = fastest_peer(result, model, setup)
    return None if peer is None else speed(result, ours, model).rate / speed(result, peer, model).rate


def wanted_ratio(result: dict[str, Any], model: str) -> float:
    """The aim for this vocabulary."""
    return WANTED_LARGE if result["settings"]["sizes"][0] >= LARGE_USERS else WANTED_RATIO[model]


def dense_flops(result: dict[str, Any], model: str) -> float:
    """Operations per second of our training that are matrix products."""
    return speed(result, OURS, model).rate * result["dense_flops_per_row"][model]


def products(result: dict[str, Any]) -> str:
    """The dtype of our matrix products, and of the machine's peak."""
    return str(result["contestants"][OURS].get("products", "float32"))


def evaluation_floor(result: dict[str, Any], model: str) -> float:
    """Seconds that the matrix products of predicting all rows (a third of training's) take at the machine's peak."""
    return result["settings"]["rows"] * result["dense_flops_per_row"][model] / 3 / result["matmul_peak_flops"]
