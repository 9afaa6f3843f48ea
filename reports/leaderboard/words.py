"""What a board says, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from reports import style
from reports.aucs import ALPHA
from reports.effects import p_text
from reports.leaderboard.blocks import MIN_BLOCKS, MIN_MODELS, Block
from reports.leaderboard.board import Board, blocks_needed, wilcoxon_floor
from reports.markdown import table
from reports.wording import names

#: Groups and datasets that are printed at most.
MOST = 6

HEADER = ["Model", "Mean rank", "95 % interval", "Behind the best", "Best in"]


def size(board: Board) -> str:
    """``9 models in 6 blocks``."""
    n = board.n_blocks
    return f"{len(board.models)} models in {n} {'block' if n == 1 else 'blocks'}"


def standings(board: Board) -> str:
    """The table of a board, the best mean rank first."""
    rows = []
    for model in board.models:
        lo, hi = board.interval(model)
        rows.append(
            [
                style.title(model),
                f"{board.mean_ranks[model]:.2f}",
                "-" if pd.isna(lo) else f"{lo:.1f} to {hi:.1f}",
                f"{board.behind[model]:.4f}".replace("-0.0000", "0.0000"),
                f"{board.wins[model]:.3g} of {board.n_blocks}",
            ]
        )
    return table(HEADER, rows)


def verdict(board: Board) -> str:
    """Who is better than whom, and who cannot be told apart."""
    if board.test is None:
        return (
            f"No verdict: tests need {MIN_MODELS} models and {MIN_BLOCKS} blocks or more, and here are {size(board)}."
            f" {_titles(board.models[:1])} has the best mean rank, which may be chance."
        )
    friedman = f"Friedman's test, {p_text(board.friedman_p)}"
    if not board.differs:
        return f"None of the {len(board.models)} models can be told from another ({friedman}: no difference is found)."
    beaten: dict[tuple[str, ...], list[str]] = {}
    for first in board.models:
        losers = tuple(second for second in board.models if board.better(first, second))
        if losers:
            beaten.setdefault(losers, []).append(first)
    if not beaten:
        return f"The models differ ({friedman}), but no two of them can be told apart."
    told = [
        f"**{_titles(winners)}** {'is' if len(winners) == 1 else 'are'} significantly better than"
        f" {_losers(losers, board.models)}"
        for losers, winners in beaten.items()
    ]
    pairs = sum(len(losers) * len(winners) for losers, winners in beaten.items())
    more = "; and so on" if len(told) > MOST else ""
    return (
        f"{'; '.join(told[:MOST])}{more} ({friedman}; {pairs} of {board.n_pairs} pairs differ, each with p < {ALPHA}"
        f" after correction). {_groups(board)}"
    )


def _losers(losers: Sequence[str], models: Sequence[str]) -> str:
    """By name, or as the end of the ranking where that is shorter."""
    if len(losers) > MOST and list(losers) == list(models[-len(losers) :]):
        return f"{_titles(losers[:1])} and the {len(losers) - 1} below it"
    return _titles(losers)


def _groups(board: Board) -> str:
    if not board.groups:
        return "Every model is told from every other."
    printed = "; ".join(_titles(group) for group in board.groups[:MOST])
    more = len(board.groups) - MOST
    return f"Cannot be told apart: {printed}" + (f"; and {more} more groups, see the diagram." if more > 0 else ".")


def method(board: Board) -> str:
    """Which test it is, why, and the smallest p-value that this many blocks allow."""
    if board.test is None:
        return ""
    n, pairs = board.n_blocks, board.n_pairs
    least = f"{wilcoxon_floor(n):.2g}"
    if board.test == "wilcoxon":
        return (
            f"Pairs are compared by Wilcoxon's signed-rank test, with Holm's correction over {pairs} pairs. The"
            f" smallest p-value that {n} blocks allow is {least}, {wilcoxon_floor(n, pairs):.2g} after correction."
        )
    return (
        f"Pairs are compared by Nemenyi's test on mean ranks, and differ where these are more than"
        f" {board.critical_difference:.2f} apart; its answer for two models depends on which others take part."
        f" Wilcoxon's signed-rank test has no such flaw, but cannot reach p < {ALPHA}: {n} blocks allow no p-value"
        f" below {least}, {wilcoxon_floor(n, pairs):.2g} after Holm's correction over {pairs} pairs. It would need"
        f" {blocks_needed(pairs)} blocks."
    )


def left_out(board: Board, grid: pd.DataFrame) -> str:
    """Which blocks take part, and which blocks and models of the grid do not; ranks need complete blocks."""
    text = f"Blocks: {places(board.values.index)}."
    models = [str(model) for model in grid.columns if model not in board.values]
    blocks = grid.index.difference(board.values.index, sort=False)
    if not models and blocks.empty:
        return text + " Nothing is left out."
    parts = []
    if models:
        has = grid.loc[board.values.index, models].notna().sum()
        parts.append(", ".join(f"{style.title(model)} (in {has[model]} of these blocks)" for model in models))
    if len(blocks):
        parts.append(
            f"{len(blocks)} {'block that lacks' if len(blocks) == 1 else 'blocks that lack'} one of these models"
            f" ({places(blocks)})"
        )
    return f"{text} Left out, since ranks need every model in every block: {'; '.join(parts)}."


def places(blocks: Iterable[Block]) -> str:
    """``six_cities-0.001, preset esmc (1, 2)``."""
    cities: dict[str, list[str]] = {}
    for dataset, preset, city in blocks:
        cities.setdefault(f"{dataset}, preset {preset}", []).append(city)
    printed = [f"{study} ({', '.join(of_study)})" for study, of_study in list(cities.items())[:MOST]]
    more = len(cities) - MOST
    return "; ".join(printed) + (f"; and {more} more datasets" if more > 0 else "")


def _titles(models: Sequence[str]) -> str:
    return names((model, "") for model in models)
