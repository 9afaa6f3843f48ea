"""``bench data check``: do funnel tables keep what their format promises?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import _options as options
from bench.cli.data import _tables


def check(
    name: _tables.Name,
    more: Annotated[int, typer.Option(min=0, metavar="N", help="Show the first N bad rows of every problem.")] = 0,
    city: _tables.City = None,
    data_dir: options.DataDir = None,
    scale: options.Scale = None,
    data_seed: options.DataSeed = 0,
    world: options.World = None,
    out: options.Out = Path("runs"),
) -> None:
    """Check funnel tables: a line per problem names table, column, rule, the first bad row, and what to do.

    Every row is read. Rows are counted from 0. Exit code 1 when something is wrong.

    Examples:

    - `bench data check path/to/tables --more 5`

    - `bench data check mylog`
    """
    from rich.console import Console
    from rich.markup import escape

    from bench.data.checks import find_problems

    console = Console(soft_wrap=True, highlight=False)
    found = _tables.folders(
        console, name, city=city, data_dir=data_dir, scale=scale, data_seed=data_seed, world=world, out=out
    )
    problems = []
    for folder in found.values():
        with console.status(f"checking {folder}"):
            problems += find_problems(folder, more)
    for problem in problems:
        console.print(f"[red]✗[/] {escape(problem.line)}")
        for row in problem.rows:
            console.print(f"    {escape(row)}")
    checked = ", ".join(map(str, found.values()))
    console.print(f"{len(problems)} problem(s) in {checked}" if problems else f"all well in {checked}", markup=False)
    raise typer.Exit(1 if problems else 0)
