"""``bench check``: is everything importable, and is what is stored intact?"""

from __future__ import annotations

from pathlib import Path

import typer

from bench.cli import _options as options


def check(out: options.Out = Path("runs"), model_files: options.ModelFiles = None) -> None:
    """Check that every model, dataset and exhibit imports, and that stored cells and data are intact.

    A model file is also trained for some seconds on a tiny world. Exit code 1 and a line per finding when something
    is wrong.

    Examples:

    - `bench check --out runs`

    - `bench check --model-file my_model.py`
    """
    from rich.console import Console
    from rich.markup import escape

    from bench.core.registry import EXHIBITS, MODELS, SOURCES
    from bench.results.store import Store
    from bench.runner.integrity import damaged_data
    from bench.runner.layout import Layout

    console = Console(soft_wrap=True)
    findings: list[str] = []
    own = options.model_files(model_files)
    for registry in (MODELS, SOURCES, EXHIBITS):
        found = registry.all()
        findings += [f"{registry.kind} {name} cannot be imported:\n{error}" for name, error in registry.broken.items()]
        console.print(f"{len(found)} {registry.kind}s can be imported")
    for name in own:
        from bench.runner.trial import failure_of  # torch: only where it is used

        with console.status(f"training {name} on a tiny world"):
            failure = failure_of(name)
        if failure is None:
            console.print(f"model {name} can be trained")
        else:
            findings.append(f"model {name} cannot be trained:\n{failure}")
    with console.status("checking what is stored"):
        store = Store(out)
        findings += store.check()
        folders, lines = damaged_data(Layout(out))
        findings += lines
    console.print(f"{len(store.keys())} stored cells and {folders} data folders checked in {out}")
    for line in findings:
        console.print(f"[red]✗[/] {escape(line)}", highlight=False)
    console.print("all intact" if not findings else f"{len(findings)} finding(s)")
    raise typer.Exit(1 if findings else 0)
