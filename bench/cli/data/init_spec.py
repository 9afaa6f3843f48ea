"""``bench data init-spec``: a specification of an import, proposed from the files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init_spec(
    files: Annotated[list[str], typer.Argument(help="Files of the log, or globs: Parquet, CSV, JSON lines.")],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="New file; its name is that of the log.")] = Path(
        "mylog.toml"
    ),
) -> None:
    """Look at the files of a log and propose a specification for `bench data import`, with comments.

    Users, items, times, actions or labels, visits, days of the splits and features are guessed from the names of the
    columns and the first rows. Read what it says: a guess may be wrong.

    Examples:

    - `bench data init-spec 2019-*.csv.gz --to shop.toml`

    - `bench data init-spec exposures.parquet`
    """
    from rich.console import Console

    from bench.core.errors import UserError
    from bench.core.publish import ensure_folder, write_atomically
    from bench.data.logs.proposal import propose
    from bench.data.logs.toml_text import marks

    console = Console(soft_wrap=True, highlight=False)
    if to.exists():
        raise UserError(f"--to must be a new file, but {to} exists; name another, or delete it.")
    with console.status("looking at the first rows"):
        text = propose(files, to)
    try:
        ensure_folder(to.absolute().parent)
    except UserError:
        raise UserError(f"--to needs a folder that can be made, but that of {to} cannot; name another.") from None
    write_atomically(to, text)
    found = marks(text)
    for mark in found:
        console.print(f"{to} line {mark.line}: {'decide' if mark.must else 'check'} {mark.text}", markup=False)
    undecided = sum(mark.must for mark in found)
    then = f"fill in the {undecided} to decide, then" if undecided else "look at its comments, then"
    console.print(f"{to} is written; {then}: bench data import --spec {to}", markup=False)
