"""Ranks of the leaderboard by hand, its tests against enumeration, complete sets, and words of known orders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats

from reports.leaderboard.blocks import complete_sets, win_rates
from reports.leaderboard.board import Board, blocks_needed, rank, wilcoxon_floor
from reports.leaderboard.plots import draw_ranks, draw_wins
from reports.leaderboard.words import left_out, method, verdict


def grid(rows: Mapping[str, list[float]], dataset: str = "d") -> pd.DataFrame:
    """AUCs of models, a number per block; NaN is a hole."""
    count = len(next(iter(rows.values())))
    index = pd.MultiIndex.from_tuples(
        [(dataset, "esmc", str(city)) for city in range(count)], names=["dataset", "preset", "city"]
    )
    return pd.DataFrame(rows, index=index)


def random_grid(blocks: int, models: int, gap: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Noise of 0.01, and each model ``gap`` better than the one before."""
    rng = np.random.default_rng(seed)
    return grid({f"m{i}": list(0.6 + gap * i + rng.normal(0, 0.01, blocks)) for i in range(models)})


#: Ranks by hand. Block 0: a 1, b 2, c 3; 1: a and b 1.5, c 3; 2: b 1, a 2, c 3; 3: c 1, a 2.5 = b.
BY_HAND = grid({"c": [0.6, 0.6, 0.6, 0.9], "b": [0.7, 0.8, 0.8, 0.7], "a": [0.8, 0.8, 0.7, 0.7]})


def test_ranks_by_hand() -> None:
    board = rank(BY_HAND)
    assert board.mean_ranks.to_dict() == {"b": 7 / 4, "a": 7 / 4, "c": 10 / 4}
    assert board.models == ["b", "a", "c"]  # equal ones stay in their order
    assert board.wins.to_dict() == {"b": 1.5, "a": 1.5, "c": 1}
    assert board.behind.round(12).to_dict() == {"b": -0.075, "a": -0.075, "c": -0.15}
    spread = math.sqrt(np.var([2, 1.5, 1, 2.5], ddof=1) / 4)
    assert board.interval("b") == pytest.approx((1.0, min(3, 1.75 + 3.182446 * spread)))
    assert board.interval("c") == pytest.approx((1.0, 3.0))  # within 1 and 3


def test_friedman_and_nemenyi_by_their_formulas() -> None:
    values = random_grid(6, 9, gap=0.004)
    board = rank(values)
    n, k = values.shape
    by_model = [np.mean([1 + (row > row[place]).sum() for row in values.to_numpy()]) for place in range(k)]
    mean = dict(zip(values.columns, by_model, strict=True))
    assert board.mean_ranks.to_dict() == pytest.approx(mean)
    statistic = 12 * n / (k * (k + 1)) * sum((each - (k + 1) / 2) ** 2 for each in by_model)
    assert (board.test, board.statistic) == ("nemenyi", pytest.approx(statistic))
    assert board.friedman_p == pytest.approx(stats.chi2.sf(statistic, k - 1))
    for (i, first), (j, second) in product(enumerate(board.models), repeat=2):
        q = abs(mean[first] - mean[second]) / math.sqrt(k * (k + 1) / (12 * n))
        assert board.p_values[i, j] == pytest.approx(float(stats.studentized_range.sf(q, k, np.inf)) if q else 1.0)
        assert board.lead[i, j] == pytest.approx(mean[second] - mean[first])
        far = mean[second] - mean[first] > board.critical_difference
        assert board.better(first, second) == far
    assert board.critical_difference == pytest.approx(3.102 * math.sqrt(k * (k + 1) / (6 * n)), rel=1e-3)  # Demšar
    assert any(board.better(a, b) for a in board.models for b in board.models)


def test_wilcoxon_by_enumeration_of_signs_and_holm_by_hand() -> None:
    values = random_grid(8, 3, gap=0.006, seed=3)
    board = rank(values)
    assert board.test == "wilcoxon"
    raw = {}
    for first, second in combinations(board.models, 2):
        difference = (values[first] - values[second]).to_numpy()
        ranks = stats.rankdata(abs(difference))
        observed = abs(np.sign(difference) @ ranks)
        signs = np.array(list(product((-1, 1), repeat=8)))
        raw[first, second] = float((abs(signs @ ranks) >= observed).mean())
    low, middle, high = sorted(raw.values())
    adjusted = dict(zip((low, middle, high), np.maximum.accumulate([3 * low, 2 * middle, high]), strict=True))
    for (first, second), p in raw.items():
        i, j = board.models.index(first), board.models.index(second)
        assert board.p_values[i, j] == board.p_values[j, i] == pytest.approx(min(1.0, adjusted[p]))
        assert board.lead[i, j] == -board.lead[j, i]
        assert np.sign(board.lead[i, j]) == np.sign((values[first] - values[second]).sum())


def test_the_least_p_value_of_wilcoxons_test() -> None:
    signs = np.array(list(product((-1, 1), repeat=6)))
    assert wilcoxon_floor(6) == (abs(signs @ np.arange(1, 7)) == 21).mean() == 2 / 64
    assert wilcoxon_floor(6, 36) == 1.0
    assert wilcoxon_floor(10, 36) > 0.05 > wilcoxon_floor(11, 36)
    assert (blocks_needed(36), blocks_needed(1), blocks_needed(3)) == (11, 6, 7)


@pytest.mark.parametrize(("blocks", "models", "test"), [(6, 9, "nemenyi"), (10, 9, "nemenyi"), (11, 9, "wilcoxon")])
def test_the_test_depends_on_the_numbers_alone(blocks: int, models: int, test: str) -> None:
    assert {rank(random_grid(blocks, models, gap)).test for gap in (0.0, 0.002, 0.1)} == {test}


def test_three_blocks_of_three_models_are_the_least_that_can_tell() -> None:
    for models in range(3, 21):
        board = rank(random_grid(3, models, gap=1.0))
        assert board.better(f"m{models - 1}", "m0")
        assert not board.better("m0", f"m{models - 1}")
        two = float(stats.studentized_range.ppf(0.95, models, np.inf)) * math.sqrt(models * (models + 1) / 24)
        assert two > models - 1
    for blocks, models in ((2, 9), (9, 2), (1, 1)):
        board = rank(random_grid(blocks, models, gap=1.0))
        assert board.test is None
        assert not board.better(board.models[0], board.models[-1])
        assert "No verdict" in verdict(board)


@pytest.mark.parametrize(("blocks", "models"), [(4, 5), (8, 3)])
def test_equal_models_are_rarely_told_apart(blocks: int, models: int) -> None:
    """Both tests keep their level where blocks are independent and all models are the same."""
    boards = [rank(random_grid(blocks, models, seed=seed)) for seed in range(150)]
    found = sum(any(board.better(a, b) for a in board.models for b in board.models) for board in boards)
    assert found <= 12  # 8 %; 5 % are allowed on average


def test_models_that_are_equal_everywhere_tie(tmp_path: Path) -> None:
    for blocks in (6, 16):
        values = random_grid(blocks, 2, gap=0.1)
        board = rank(values.assign(twin=values.m0))
        assert board.mean_ranks.to_dict() == {"m1": 1, "m0": 2.5, "twin": 2.5}
        assert not np.isnan(board.p_values).any()
        assert board.groups == [["m0", "twin"]]
    board = rank(grid({name: [0.7] * 6 for name in "abc"}))
    assert "None of the 3 models can be told from another" in verdict(board)
    assert "nan" not in verdict(board)
    draw_ranks(board, "all equal", tmp_path / "equal.png")
    assert (tmp_path / "equal.png").stat().st_size > 5_000


@pytest.mark.parametrize("seed", range(5))
def test_groups_by_enumeration(seed: int) -> None:
    board = rank(random_grid(30, 7, gap=0.003, seed=seed))
    assert board.test == "wilcoxon"

    def alike(group: tuple[str, ...]) -> bool:
        return not any(board.better(a, b) for a in group for b in group)

    every = [set(group) for size in range(2, 8) for group in combinations(board.models, size) if alike(group)]
    largest = [group for group in every if not any(group < other for other in every)]
    assert 1 < len(largest) < 8
    assert sorted(map(sorted, board.groups)) == sorted(map(sorted, largest))


def holes(blocks: int, **present: int) -> pd.DataFrame:
    """Models that are in the first so many blocks."""
    return grid({model: [0.7] * count + [math.nan] * (blocks - count) for model, count in present.items()})


def sizes(values: pd.DataFrame) -> list[tuple[int, list[str]]]:
    return [(len(part), list(part.columns)) for part in complete_sets(values)]


def test_complete_sets() -> None:
    assert sizes(holes(6, a=6, b=6, c=6)) == [(6, ["a", "b", "c"])]
    assert sizes(holes(6, a=6, b=6, c=6, d=3)) == [(6, ["a", "b", "c"])]
    assert sizes(holes(6, a=6, b=5, c=5, d=5)) == [(5, ["a", "b", "c", "d"])]
    many = dict.fromkeys("defghi", 6)
    both = [(6, ["a", "b", "c", *"defghi"]), (30, ["a", "b", "c"])]
    assert sizes(holes(30, a=30, b=30, c=30, **many)) == both
    assert sizes(holes(30, a=30, b=30, **many)) == [(6, ["a", "b", *"defghi"])]  # two models are no second set
    assert sizes(holes(2, a=2, b=2, c=1)) == [(2, ["a", "b"])]
    assert sizes(holes(9, a=9, b=3, c=3)) == [(3, ["a", "b", "c"])]
    assert sizes(holes(4, a=2, b=0)) == []
    assert sizes(grid({"a": [0.7, math.nan], "b": [math.nan, 0.7]})) == []
    assert complete_sets(pd.DataFrame()) == []


@pytest.mark.parametrize("seed", range(10))
def test_complete_sets_have_no_hole_and_all_their_blocks(seed: int) -> None:
    values = random_grid(12, 8, seed=seed)
    values = values.where(np.random.default_rng(seed).random(values.shape) < 0.8)
    for part in complete_sets(values):
        assert part.notna().all(axis=None)
        assert len(part) == values[list(part.columns)].notna().all(axis=1).sum()
        assert len(part) >= 3


def test_win_rates_by_hand() -> None:
    wins, shared = win_rates(grid({"a": [0.8, 0.7, 0.7], "b": [0.7, 0.7, math.nan], "c": [math.nan] * 2 + [0.9]}))
    assert wins.to_numpy().tolist() == [[0, 1.5, 0], [0.5, 0, 0], [1, 0, 0]]
    assert shared.to_numpy().tolist() == [[0, 2, 1], [2, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("models", [2, 3, 12, 13, 17])
def test_no_word_of_the_matrix_is_cut_off(models: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("reports.style.save", lambda drawing, path: drawn.append(drawing))
    wins, shared = win_rates(random_grid(6, models))
    heading = "CTCVR-AUC: how often the row's model beats the column's"
    draw_wins(wins, shared, [*wins.index], heading, tmp_path / "wins.png")
    (figure,) = drawn
    figure.draw_without_rendering()
    words = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert heading in [text.get_text() for text in words]
    for text in words:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1, text.get_text()


def test_words_of_a_known_order() -> None:
    board = rank(random_grid(12, 4, gap=0.2))
    text = verdict(board)
    assert "**m3** is significantly better than m2, m1 and m0; **m2** is significantly better than m1 and m0" in text
    assert "Every model is told from every other." in text
    assert "12 blocks allow is 0.00049, 0.0029 after" in method(board)
    few = rank(random_grid(6, 9, gap=0.2))
    assert "**m8** is significantly better than m3, m2, m1 and m0" in verdict(few)
    assert "Cannot be told apart: m8, m7, m6, m5 and m4; " in verdict(few)
    assert "6 blocks allow no p-value below 0.031, 1 after Holm's correction over 36 pairs" in method(few)
    assert "It would need 11 blocks." in method(few)
    many = verdict(rank(random_grid(30, 20, gap=0.2)))
    assert many.startswith("**m19** is significantly better than m18 and the 18 below it; **m18** is")
    assert "; and so on (Friedman's test, p < 0.001; 190 of 190 pairs differ, each with p < 0.05" in many
    chance = rank(random_grid(6, 9, seed=1))
    assert verdict(chance).startswith("None of the 9 models can be told from another (Friedman's test, p = 0.")


def test_what_is_left_out_is_named() -> None:
    values = holes(4, esmm=4, esms=3, esmc=3, mine=1)
    board = rank(complete_sets(values)[0])
    text = left_out(board, values)
    assert text.startswith("Blocks: d, preset esmc (0, 1, 2). Left out")
    assert "mine (in 1 of these blocks); 1 block that lacks one of these models (d, preset esmc (3))." in text
    whole = holes(3, esmm=3, esms=3, esmc=3)
    assert left_out(rank(whole), whole).endswith("Nothing is left out.")


def test_intervals_of_a_single_block_are_unknown() -> None:
    board: Board = rank(random_grid(1, 3))
    assert all(math.isnan(end) for end in board.interval("m0"))
