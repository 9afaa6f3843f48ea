"""``bench data import``: a log of your own as funnel tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import _options as options

if TYPE_CHECKING:
    from rich.console import Console

    from bench.data.tables import Manifest


def import_(
    spec: Annotated[Path, typer.Option(help="What the files are: a TOML file; `bench data init-spec` proposes one.")],
    out: options.Out = Path("runs"),
    replace: Annotated[bool, typer.Option("--replace", help="Replace an import of that name.")] = False,
    memory: Annotated[str, typer.Option(help="Memory of the sorts and joins; the process needs twice that.")] = "2GB",
) -> None:
    """Turn Parquet, CSV or JSON lines into funnel tables, which every other command takes by their name.

    Paths in the specification are relative to it. A finished import is kept: the same files and specification again
    change nothing. One that is stopped leaves nothing behind.

    Examples:

    - `bench data import --spec mylog.toml`

    - `bench data describe mylog`, then `bench run --data mylog`
    """
    import re
    import shutil

    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    from bench.core.errors import UserError
    from bench.core.publish import ensure_folder, publishing, sweep_staging
    from bench.core.registry import SOURCES
    from bench.data.logs.importing import fingerprint_of, import_log
    from bench.data.logs.spec_file import read_spec
    from bench.data.tables import MANIFEST, read_manifest
    from bench.runner.layout import Layout

    console = Console(soft_wrap=True, highlight=False)
    if not re.fullmatch(r"\d+(\.\d+)?\s?[KMGT]i?B", memory):
        raise UserError(f"--memory must be a size such as 2GB, but got {memory!r}.")
    log, root = read_spec(spec), spec.absolute().parent
    if log.name in SOURCES.names():
        raise UserError(f"{spec}: name must be none of the datasets of `bench ls`, but is {log.name!r}; take another.")
    folder = Layout(out).logs / log.name
    ensure_folder(folder.parent)
    sweep_staging(folder.parent)
    with console.status("reading checksums of the files"):
        fingerprint = fingerprint_of(log, root)
    if (folder / MANIFEST).exists() and not replace:
        stored = read_manifest(folder)
        if stored.fingerprint != fingerprint:
            raise UserError(
                f"an import called {log.name!r} is in {folder} already, of other files or another specification; give "
                "--replace, or another name."
            )
        console.print(f"{log.name} is imported already, from the same files and specification")
        _tell(console, stored, folder, log.name)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[speed]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("reading", total=None, speed="")

        def report(stage: str, done: int, total: int) -> None:
            elapsed = progress.tasks[0].elapsed or 1.0
            speed = f"{done:,} of {total:,} rows, {done / elapsed:,.0f} rows/s" if total else ""
            progress.update(bar, description=stage, completed=done, total=total or None, speed=speed)

        old = None
        try:
            with publishing(folder) as new:
                manifest = import_log(log, new, root=root, fingerprint=fingerprint, memory_limit=memory, report=report)
                if folder.exists():  # --replace: the old one gets a name that is swept
                    old = folder.rename(new.with_name(f"{new.name}-old"))
        finally:
            if old is not None and not folder.exists():  # stopped before the new one was there
                old.rename(folder)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    _tell(console, manifest, folder, log.name)


def _tell(console: Console, manifest: Manifest, folder: Path, name: str) -> None:
    """Counts, what was left out and why, and the next steps."""
    from rich import box
    from rich.table import Table

    from bench.data.tables import LABELS

    parts = ("actions", "late", "early", "without_exposure", "of_later_split")
    labels = [label for label in LABELS if f"{label}_actions" in manifest.counts]
    attributed = {f"{label}_{part}" for label in labels for part in parts}
    table = Table("counted", name, box=box.SIMPLE_HEAD)
    for what, number in manifest.counts.items():
        if what not in attributed:
            table.add_row(what.replace("_", " "), f"{number:,}")
    actions = Table(
        "actions of the log", "all", "late", "early", "without exposure", "of later split", box=box.SIMPLE_HEAD
    )
    for label in labels:
        actions.add_row(label, *(f"{manifest.counts.get(f'{label}_{part}', 0):,}" for part in parts))
    for each in (table, actions) if labels else (table,):
        for column in each.columns[1:]:
            column.justify = "right"
        console.print(each)
    for note in manifest.notes:
        console.print(f"note: {note}", markup=False)
    for fact, reason in manifest.lacks.items():
        console.print(f"lacks {fact}: the log {reason}", markup=False)
    console.print(
        f"funnel tables are in {folder}; next: bench data describe {name}, bench run --data {name}", markup=False
    )
