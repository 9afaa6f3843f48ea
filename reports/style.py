"""How models look everywhere: order, title, colour, marker; and how figures are made and saved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

#: The ESMC family: what the paper's "Improvement" counts as its own. Every other model is a baseline.
FAMILY = frozenset(("esms", "esmc", "esmg", "esms2", "esmc2"))

#: The models of the global domain, which ESMC compares apart from the others (its Table V).
GLOBAL = ("esms2", "esmc2")


class Look(NamedTuple):
    title: str
    color: str
    marker: str


#: In the order of the papers' tables. Colours: Okabe-Ito without yellow, then Tol's muted scheme and greys, safe for
#: colour-blind readers.
LOOKS: dict[str, Look] = {
    "gbdt": Look("GBDT", "#8C6D31", "X"),
    "dnn": Look("DNN", "#000000", "+"),
    "dnn_os": Look("DNN-OS", "#BBBBBB", "x"),
    "shared_bottom": Look("Shared Bottom", "#7F7F7F", "s"),
    "mmoe": Look("MMoE", "#56B4E9", "D"),
    "ple": Look("PLE", "#332288", "p"),
    "aitm": Look("AITM", "#117733", "*"),
    "dbmtl": Look("DBMTL", "#44AA99", "8"),
    "esmm": Look("ESMM", "#0072B2", "^"),
    "esm2": Look("ESM²", "#009E73", "v"),
    "esm2_chain": Look("ESM² chain", "#E69F00", "P"),
    "escm2_ips": Look("ESCM²-IPS", "#999933", "H"),
    "escm2_dr": Look("ESCM²-DR", "#AA4499", "d"),
    "esms": Look("ESMS", "#CC79A7", "o"),
    "esmc": Look("ESMC", "#D55E00", "h"),
    "esms2": Look("ESMS²", "#882255", "<"),
    "esmc2": Look("ESMC²", "#661100", ">"),
}
_SPARE = ("#DDCC77", "#CC6677", "#6699CC", "#997700", "#994455", "#004488")


def look(model: str) -> Look:
    """Title, colour and marker of a model; one that is not listed gets a spare colour that depends on its name."""
    spare = _SPARE[hashlib.sha256(model.encode()).digest()[0] % len(_SPARE)]
    return LOOKS.get(model, Look(model, spare, "1"))


def title(model: str, variant: str = "") -> str:
    """What tables and legends call a model, e.g. ``ESMC (constraint=softmax)``."""
    return f"{look(model).title} ({variant})" if variant else look(model).title


def city_title(city: str) -> str:
    """``City 1`` for a numbered city, its own name otherwise."""
    return f"City {city}" if city.isdigit() else city


def in_order(models: Iterable[str]) -> list[str]:
    """Models in the order of the papers' tables, others after them by name."""
    known = list(LOOKS)
    return sorted(set(models), key=lambda model: (known.index(model) if model in known else len(known), model))


def figure(width: float, height: float) -> Figure:
    """An empty figure, in inches. No global state: figures never outlive the exhibit that drew them."""
    return Figure(figsize=(width, height), layout="constrained")


def save(drawing: Figure, path: Path) -> None:
    drawing.savefig(path, dpi=130, facecolor="white")
