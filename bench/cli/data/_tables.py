"""Which folders of funnel tables a NAME stands for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import _options as options

if TYPE_CHECKING:
    from rich.console import Console

Name = Annotated[
    str, typer.Argument(help="A dataset of `bench ls`, an imported log, or a folder of funnel tables.", metavar="NAME")
]
City = Annotated[str | None, typer.Option(help="City of the dataset.")]


def folders(
    console: Console,
    name: str,
    *,
    one: bool = False,
    city: str | None,
    data_dir: Path | None,
    scale: float | None,
    data_seed: int,
    world: Sequence[str] | None,
    out: Path,
) -> dict[str, Path]:
    """Folders of funnel tables by city; those of a dataset are made where they are missing, as `bench run` does.

    A folder that is named is taken as it is, whatever it holds. With ``one``, a city must be named among several.

    Raises:
        UserError: there is no such dataset, folder or city; or raw files are missing or damaged.
    """
    from bench.core.errors import UserError
    from bench.core.registry import SOURCES
    from bench.data.tables import MANIFEST, read_manifest
    from bench.runner.layout import Layout
    from bench.runner.plan import choose
    from bench.runner.prepare import imported_logs, tables_folder

    layout = Layout(out)

    def chosen(known: Sequence[str]) -> list[str]:
        if one and city is None and len(known) > 1:
            raise UserError(f"say which city of {name}: --city with one of {', '.join(known)}.")
        return choose("city", None if city is None else [city], known)

    if name not in SOURCES.names():
        root = imported_logs(layout).get(name, Path(name))
        below = sorted(path.parent for path in root.glob(f"[!.]*/{MANIFEST}"))
        if root.is_dir() and (not below or (root / MANIFEST).is_file()):
            if city is not None:
                chosen([read_manifest(root).city])
            return {root.name: root}
        if below:
            found = {read_manifest(folder).city: folder for folder in below}
            return {place: found[place] for place in chosen(list(found))}
    source = options.source(name, scale, data_seed, data_dir, world, out)
    made = {}
    for place in chosen(source.cities()):
        with console.status(f"making the funnel tables of {source.label}, {place}"):
            made[place] = tables_folder(layout, source, place)
    return made
