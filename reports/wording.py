"""Sentences about comparisons over cities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bench.metrics.compare import Contrast
from reports import style
from reports.effects import effect, p_text
from reports.measures import Entry
from reports.pooled import Key, Pooled

Compared = Mapping[Key, Contrast]


def names(entries: Iterable[Entry]) -> str:
    """``A, B and C``."""
    *first, last = [style.title(*entry) for entry in entries]
    return f"{', '.join(first)} and {last}" if first else last


def grouped(found: Mapping[Entry, str]) -> str:
    """``A and B: too few; C: not distinguishable``: entries by what is found of them."""
    groups: dict[str, list[Entry]] = {}
    for entry, words in found.items():
        groups.setdefault(words, []).append(entry)
    if len(groups) == 1 and len(found) > 3:
        return f"All {len(found)} models: {next(iter(groups))}"
    return "; ".join(f"{names(entries)}: {words}" for words, entries in groups.items())


def plain(found: Contrast, digits: int = 3) -> str:
    """``+0.179 [+0.160, +0.198]``."""
    return effect(found, digits).replace("**", "")


def told(pooled: Pooled, compared: Compared, key: Key, digits: int = 3) -> str:
    """``+0.179 [+0.160, +0.198], p < 0.001, above 0 in 6 of 6 cities``."""
    cities = pooled.contrasts(key)
    above = sum(contrast.difference > 0 for contrast in cities.values())
    place = "city" if len(cities) == 1 else "cities"
    found = compared[key]
    return f"{plain(found, digits)}, {p_text(found.p_adjusted)}, above 0 in {above} of {len(cities)} {place}"


def uneven(pooled: Pooled, quantity: str, entries: Iterable[Entry]) -> list[str]:
    """A warning where models are not stored for the same cities."""
    cities = {frozenset(pooled.estimates(quantity, entry)) for entry in entries}
    text = "Not every model is stored for the same cities (last column): compare differences then, not means."
    return [text] if len(cities) > 1 else []
