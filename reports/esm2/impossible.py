"""Statements of the ESM² paper about its data that cannot all be true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reports.audit.checks import Range, combine, exact, judge, rounded, show
from reports.audit.checks import Verdict as Follows


def contradictions(paper: dict[str, Any]) -> Iterator[str]:
    """One sentence each; ``paper`` is :func:`reports.published.load_printed`."""
    text, counts = paper["esm2_text"], paper["esm2_table_1"]
    bought = _percent(counts["purchases"], counts["clicks"])
    yield from _carts_and_wishes(text, bought)
    yield from _acted(text, counts)
    yield from _without_action(text, counts, bought)


def _carts_and_wishes(text: dict[str, Any], bought: Range) -> Iterator[str]:
    """Purchases after carts and after wishes against all purchases."""
    carted, wished, acted = (rounded(text[name]) for name in ("carted", "wished", "acted"))
    of_carted, of_wished = rounded(text["bought_of_carted"]), rounded(text["bought_of_wished"])
    after = combine(lambda c, p, w, q: (c * p + w * q) / 100, carted, of_carted, wished, of_wished)
    both = combine(lambda c, w, a: c + w - a, carted, wished, acted)
    least = after.low - both.high
    if after.low <= bought.high:
        return
    where = f"{text['carted']} % × {text['bought_of_carted']} % + {text['wished']} % × {text['bought_of_wished']} %"
    line = (
        f"{where} = {_show(after.point)} % of the clicks are bought after a cart or a wish, but Table 1 has"
        f" {_show(bought.point)} % of the clicks bought in all."
    )
    if least > bought.high:
        line += (
            f" Clicks with both are counted twice; they are {_show(both.point)} % of the clicks, and with the most that"
            f" rounding allows ({_show(both.high)} %), all bought, at least {_show(least)} % would remain."
        )
    elif after.point - both.point > bought.high:
        rest = _show(after.point - both.point)
        line += f" Even if all clicks with both ({_show(both.point)} %) are bought, {rest} % remain."
    yield line


def _acted(text: dict[str, Any], counts: dict[str, Any]) -> Iterator[str]:
    """The share of clicks with an action, in the text and by Table 1."""
    found = _percent(counts["actions"], counts["clicks"])
    if judge(text["acted"], found) is Follows.NOT:
        ratio = f"{counts['actions']:,} / {counts['clicks']:,} = {show(found, 1)} %"
        yield f"{text['acted']} % of the clicks have an action (sections 3.1 and 4.3.4), but by Table 1 {ratio}."


def _without_action(text: dict[str, Any], counts: dict[str, Any], bought: Range) -> Iterator[str]:
    """What is left for purchases without an action."""
    of_actions = _percent(counts["purchases"], counts["actions"])
    over, acted = text["bought_of_actions_over"], text["acted"]
    after = combine(lambda a, b: a * b / 100, rounded(acted), rounded(over))
    if of_actions.point > over and after.point > bought.point:
        yield (
            f"The “more than {over} %” of actions that are bought (section 4.1.1) is Table 1's purchases over its"
            f" actions, {show(of_actions, 2)} %: that takes every purchase for one after an action, yet Table 8"
            f" measures purchases without one (OAction). As printed, {acted} % × {over} % = {show(after, 2)} % of the"
            f" clicks would be bought after an action, more than the {_show(bought.point)} % that are bought in all."
        )


def _percent(part: int, whole: int) -> Range:
    return combine(lambda a, b: 100 * a / b, exact(part), exact(whole))


def _show(percent: Any) -> str:
    return f"{float(percent):.2f}"
