"""How long AUC, GAUC and all other metrics take: ``python benchmarks/metrics.py [ROWS [USERS [ROUNDS [LOOPED]]]]``.

All metrics of a cell are those that training stores of a model with carts: AUC, GAUC, log loss, ECE and PCOC of five
probabilities, and the AUC of the true probability against the same labels, of float32 batches that are gathered once.
Where there is a CUDA device, also of rows that were gathered there.

F1@top of CVR and CTCVR and GAUC of both and of CTR, each over ROWS rows of USERS users with as many positives as the
ESM² paper has (6 % of exposures clicked, 1 % of clicks bought). Beside it scikit-learn in a loop over LOOPED users,
extrapolated to all; the loop is given the rows of each user for free. Both must agree on the looped users.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from machine import line
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from bench.data.datamodule import EVALUATION_ROWS
from bench.metrics.evaluate import METRICS
from bench.metrics.gauc import gauc, gauc_by_user
from bench.metrics.spaces import LABELS, TARGETS
from bench.metrics.top import SHARES, STATISTICS, Top, top, top_by_user
from bench.metrics.torch_metrics import FunnelMetrics

#: The aim: all values over one million rows and 100,000 users in so many seconds.
SECONDS = 1.0
#: Share of positives of each probability.
POSITIVES: dict[str, float] = {"CVR": 0.01, "CTCVR": 0.0006, "CTR": 0.06}
#: The last but one line.
ALL = "F1@top and GAUC, all of these"
#: Those that recall, precision and F1 are taken of.
CUT: tuple[str, ...] = ("CVR", "CTCVR")


class Rows(NamedTuple):
    """Scores, labels and users, each [n]."""

    scores: NDArray[np.float32]
    labels: NDArray[np.uint8]
    users: NDArray[np.int32]


def make(rows: int, users: int, share: float, seed: int = 0) -> Rows:
    """Rows of random users whose scores know the label a little."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < share).astype(np.uint8)
    scores = (1 / (1 + np.exp(-rng.normal(size=rows) - labels))).astype(np.float32)
    return Rows(scores, labels, rng.integers(0, users, rows, dtype=np.int32))


class Funnel(NamedTuple):
    """What a model with carts predicted, the labels, their users, and the true probabilities, each [n]."""

    probabilities: dict[str, NDArray[np.float32]]
    labels: dict[str, NDArray[np.uint8]]
    users: NDArray[np.int32]
    truth: dict[str, NDArray[np.float32]]

    def gathered(self, device: str = "cpu") -> FunnelMetrics:
        """The batches of an evaluation, on that device."""
        metrics = FunnelMetrics(self.probabilities)
        for start in range(0, self.users.size, EVALUATION_ROWS):
            batch = slice(start, start + EVALUATION_ROWS)
            probabilities, labels = (
                {name: torch.from_numpy(column[batch]).to(device) for name, column in columns.items()}
                for columns in (self.probabilities, self.labels)
            )
            metrics.update(probabilities, labels, torch.from_numpy(self.users[batch]).to(device))
        return metrics


def funnel(rows: int, users: int, seed: int = 0) -> Funnel:
    """Rows drawn from their true probabilities (6 % clicked, 1 % of these bought, 10 % carted), and noisy guesses."""
    rng = np.random.default_rng(seed)
    shares = {"p_click": POSITIVES["CTR"], "p_cart": 0.1, "p_purchase": POSITIVES["CVR"]}
    odds = {name: np.log(share / (1 - share)) + rng.normal(size=rows) for name, share in shares.items()}
    truth = {name: _logistic(column) for name, column in odds.items()}
    click, cart, purchase = (rng.random(rows) < column for column in truth.values())
    guesses = {name: _logistic(column + rng.normal(0, 0.5, rows)) for name, column in odds.items()}
    probabilities = {
        name: np.prod([guesses[part] for part in goal.truth], axis=0, dtype=np.float32)
        for name, goal in TARGETS.items()
    }
    happened = (click, click & cart, click & purchase)
    labels = {name: column.astype(np.uint8) for name, column in zip(LABELS, happened, strict=True)}
    return Funnel(probabilities, labels, rng.integers(0, users, rows, dtype=np.int32), truth)


def _logistic(odds: NDArray[np.float64]) -> NDArray[np.float32]:
    return (1 / (1 + np.exp(-odds))).astype(np.float32)


def seconds(work: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each round, sorted, after one that does not count."""
    work()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return sorted(found)


def looped(table: Rows, users: int) -> float:
    """Seconds of a loop over the first ``users`` users with scikit-learn.

    Raises:
        SystemExit: its GAUC is not ours.
    """
    chosen = table.users < users
    scores, labels, owners = (column[chosen] for column in table)
    order = np.argsort(owners, kind="stable")
    ends = np.cumsum(np.bincount(owners, minlength=users))[:-1]
    parts = list(zip(np.split(labels[order], ends), np.split(scores[order], ends), strict=True))
    start = time.perf_counter()
    areas = [roc_auc_score(y, p) for y, p in parts if 0 < y.sum() < y.size]
    took = time.perf_counter() - start
    ours = gauc(scores, labels, owners)
    if areas and abs(float(np.mean(areas)) - ours) > 1e-9:
        sys.exit(f"GAUC must be that of the loop, {np.mean(areas)}, but is {ours}.")
    return took


def main(rows: int = 1_000_000, users: int = 100_000, rounds: int = 7, of_loop: int = 20_000) -> None:
    tables = {name: make(rows, users, share) for name, share in POSITIVES.items()}
    of_loop = min(of_loop, users)

    def tops(name: str) -> list[Top]:
        scores, labels, _ = tables[name]
        return [top(scores, labels, share) for share in SHARES]

    def sums(name: str) -> list[tuple[float, NDArray[np.float64]]]:
        cuts = [(share, statistic) for share in SHARES for statistic in STATISTICS] if name in CUT else []
        return [gauc_by_user(*tables[name], users), *(top_by_user(*tables[name], users, *cut) for cut in cuts)]

    cell = funnel(rows, users)
    gathered = cell.gathered()
    names = {"auc": "AUC", "gauc": "GAUC", "log_loss": "log loss", "ece": "ECE", "pcoc": "PCOC"}
    times = {
        f"{names[metric]} of {len(TARGETS)} probabilities": seconds(
            partial(gathered.results, metrics=(metric,)), rounds
        )
        for metric in METRICS
    }
    of_cell = seconds(lambda: cell.gathered().results(cell.truth), rounds)
    times["all metrics of a cell, from its batches"] = of_cell
    if torch.cuda.is_available():
        on_gpu = partial(cell.gathered("cuda").results, cell.truth)
        times["all metrics of a cell, gathered on the GPU"] = seconds(on_gpu, rounds)
    times |= {f"F1@top of {name}, {len(SHARES)} cuts": seconds(partial(tops, name), rounds) for name in CUT}
    times |= {f"GAUC of {name}": seconds(partial(gauc, *table), rounds) for name, table in tables.items()}
    loops = {f"GAUC of {name}": looped(table, of_loop) * users / of_loop for name, table in tables.items()}
    total = seconds(lambda: [*map(tops, CUT), *(gauc(*table) for table in tables.values())], rounds)
    intervals = seconds(lambda: [sums(name) for name in tables], rounds)

    printed = Table("", "ours, s (median)", "fastest-slowest", "scikit-learn by user, s", f"of {SECONDS:g} s")
    for name, found in (times | {ALL: total, "these with sums by user for intervals": intervals}).items():
        median = statistics.median(found)
        spread, loop = f"{found[0]:.3f}-{found[-1]:.3f}", loops.get(name)
        aim = f"{median / SECONDS:.0%}" if name.startswith("all metrics") or name == ALL else ""
        printed.add_row(name, f"{median:.3f}", spread, "" if loop is None else f"{loop:.1f}", aim)
    console = Console(width=120)
    console.print(printed)
    console.print(f"{rows:,} rows and {users:,} users each; loops over {of_loop:,} users, scaled to {users:,}.")
    console.print("One thread." + (f" GPU: {torch.cuda.get_device_name()}." if torch.cuda.is_available() else ""))
    console.print(line("numpy", "scikit-learn"))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
