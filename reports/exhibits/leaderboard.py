"""The leaderboard: all models over all stored worlds, by rank, with what can and cannot be told apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pandas as pd

from reports import style
from reports.aucs import AUCS, metric_name
from reports.exhibit import Exhibit
from reports.leaderboard.blocks import BLOCK, ENOUGH, Values, block_values, complete_sets, win_rates
from reports.leaderboard.board import Board, rank
from reports.leaderboard.plots import draw_ranks, draw_wins
from reports.leaderboard.words import left_out, method, places, size, standings, verdict
from reports.markdown import picture
from reports.measures import MIN_CLASS
from reports.study import Study
from reports.wording import names

READING = f"""\
A *block* is one city of one dataset under one preset; what a model has there is the mean over seeds of its AUC on the
test days, in its main configuration. In every block the models are ranked: 1 is best, equal AUCs share the mean of
their ranks. A mean rank says how often a model is ahead, not by how much: *behind the best* is its AUC minus that of
the best model of the block, averaged over blocks. Intervals are Student's t over blocks.

Ranks need every model in every block. The set taken has the largest product of models and blocks, where more than
{ENOUGH} blocks count as {ENOUGH}, so that models come first. Where fewer models share more blocks, these follow as
*more worlds*."""

WIDER = "Unlike the others, {} saw the carts of search in training."

CAUTION = """\
**Caution.** The tests take blocks as independent draws, and they are not: cities of one simulation, and worlds that
differ in one setting, share its random numbers and most of its settings, and two presets share their test rows. The
p-values are therefore too small if anything, and a verdict is about these worlds, not about shops. The three AUCs are
tested one by one; corrections are for the pairs of each."""

COLUMNS = [
    "measure", "set", "quantity", "model", "other", *BLOCK, "value", "lo", "hi", "p_value", "test", "n_models",
    "n_blocks", "n_seeds",
]  # fmt: skip

SETS = ("most models", "more worlds")


class Leaderboard(Exhibit):
    name = "leaderboard"
    title = "Leaderboard: all models over all worlds"
    needs = "records"
    order = 110
    scope = "report"

    def build(self, study: Study, folder: Path) -> str:
        values = block_values(study.report or [study])
        grids = {measure: values.grid(measure) for measure in AUCS}
        boards = {measure: [rank(part) for part in complete_sets(grid)] for measure, grid in grids.items()}
        self.write_csv(frame(values, boards), folder)
        if not any(boards.values()):
            return "There is nothing to rank: no block has two models yet. `bench run` trains them."
        short = [
            f"- **{AUCS[measure]}** ({size(board)}): {verdict(board)}"
            for measure, found in boards.items()
            for board in found[:1]
        ]
        parts = [READING, "**In short**", "\n".join(short), *_notes(values)]
        if any(board.test for found in boards.values() for board in found):
            parts.insert(3, CAUTION)
        told: dict[str, str] = {}
        for measure, found in boards.items():
            parts.append(f"#### {AUCS[measure]}")
            if not found:
                parts.append("No block has it of two models.")
                continue
            for title, board in zip(SETS, found, strict=False):
                out = left_out(board, grids[measure])
                first = told.setdefault(out, measure)
                where = out if first == measure else f"Blocks and what is left out: as for {AUCS[first]}."
                parts.append(f"**{title.capitalize()}: {size(board)}.** {where}")
                parts += self._board(measure, title, board, folder)
            parts += self._wins(measure, found[0], grids[measure], folder)
        return "\n\n".join(filter(None, parts))

    def _board(self, measure: str, title: str, board: Board, folder: Path) -> Iterator[str]:
        more = title == SETS[1]
        yield standings(board)
        yield method(board)
        if more:
            yield verdict(board)
        if board.test is not None:
            path = folder / f"{self.name}-{'worlds' if more else 'ranks'}-{measure}.png"
            draw_ranks(board, f"{AUCS[measure]}: {size(board)}", path)
            yield picture(path.name, f"critical-difference diagram of {AUCS[measure]}: {size(board)}")

    def _wins(self, measure: str, board: Board, grid: pd.DataFrame, folder: Path) -> Iterator[str]:
        wins, shared = win_rates(grid)
        others = [str(model) for model in grid.columns if model not in board.values]
        path = folder / f"{self.name}-wins-{measure}.png"
        heading = f"{AUCS[measure]}: how often the row's model beats the column's"
        draw_wins(wins, shared, [*board.models, *others], heading, path)
        yield "Who beats whom, over all blocks that have both, also those left out above; a tie is half a win:"
        yield picture(path.name, heading)


def _notes(values: Values) -> Iterator[str]:
    if wider := [model for model in style.GLOBAL if (values.table.model == model).any()]:
        yield WIDER.format(names((model, "") for model in wider))
    if values.uneven:
        where = places(values.uneven)
        yield f"Not every model has the same seeds in {where}: means over fewer seeds are less certain."
    for measure, blocks in values.withheld.items():
        if blocks:
            where = places(sorted(blocks))
            yield f"{AUCS[measure]} is withheld where a class has fewer than {MIN_CLASS} test rows: {where}."


def frame(values: Values, boards: dict[str, list[Board]]) -> pd.DataFrame:
    """Every figure, COLUMNS: AUCs by block, wins of pairs over all their blocks, and of each set its ranks and tests.

    ``auc``, ``wins_of_pair`` (of ``n_blocks``), ``mean_rank``, ``behind_best``, ``wins``, ``friedman`` (χ²), and
    ``lead`` of a pair: the difference of mean ranks (Nemenyi) or the sum of signed ranks (Wilcoxon), above 0 where
    ``model`` is ahead of ``other``, with the corrected p-value.
    """
    rows: list[dict[str, object]] = []
    for measure, found in boards.items():
        wins, shared = win_rates(values.grid(measure))
        rows += [
            {"quantity": "wins_of_pair", "model": a, "other": b, "value": wins.at[a, b], "n_blocks": shared.at[a, b]}
            | {"measure": measure}
            for a, b in permutations(wins.index, 2)
            if shared.at[a, b]
        ]
        for title, board in zip(SETS, found, strict=False):
            common = {"measure": measure, "set": title, "n_models": len(board.models), "n_blocks": board.n_blocks}
            rows += [row | common for row in _rows(board)]
    aucs = values.table.assign(quantity="auc")
    written = pd.concat([aucs, pd.DataFrame(rows)]).reindex(columns=COLUMNS)
    counts = ["n_models", "n_blocks", "n_seeds"]
    return written.assign(measure=written.measure.map(metric_name)).astype(dict.fromkeys(counts, "Int64"))


def _rows(board: Board) -> Iterator[dict[str, object]]:
    for model in board.models:
        lo, hi = board.interval(model)
        yield {"quantity": "mean_rank", "model": model, "value": board.mean_ranks[model], "lo": lo, "hi": hi}
        yield {"quantity": "behind_best", "model": model, "value": board.behind[model]}
        yield {"quantity": "wins", "model": model, "value": board.wins[model]}
    if board.test is None:
        return
    yield {"quantity": "friedman", "value": board.statistic, "p_value": board.friedman_p, "test": "friedman"}
    for (i, first), (j, second) in permutations(enumerate(board.models), 2):
        pair = {"quantity": "lead", "model": first, "other": second, "value": board.lead[i, j]}
        yield {**pair, "p_value": board.p_values[i, j], "test": board.test}
