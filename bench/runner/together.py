"""Which cells are trained at once in one process: those that differ in seed and coefficients only."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.cell import Cell
from bench.training.train import together

#: Cells that are trained at once at most: memory grows with them.
MOST = 8
#: So many times as fast must training at once be to be chosen: a killed run loses more cells by it, and only on a CPU
#: are they those of training alone bit for bit.
GAIN = 1.05
#: Below so many training rows in all it is not worth measuring which way is faster.
WORTH_MEASURING = 20_000_000

Group = tuple[Cell, ...]


def groups_of(cells: Sequence[Cell], most: int, jobs: int) -> list[Group]:
    """The cells in groups of at most ``most``, in the order of the first of each.

    There are as many groups as ``jobs``, if there are as many cells.

    Args:
        most: 1 keeps every cell alone.
        jobs: processes that should have something to do.
    """
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(together(cell) or cell.key if most > 1 else cell.key, []).append(cell)
    groups = [
        tuple(members[first : first + most]) for members in alike.values() for first in range(0, len(members), most)
    ]
    while len(groups) < jobs and any(len(group) > 1 for group in groups):
        place = max(range(len(groups)), key=lambda index: len(groups[index]))
        half = -(-len(groups[place]) // 2)
        groups[place : place + 1] = [groups[place][:half], groups[place][half:]]
    return groups
