"""``bench data describe``: what a log holds, and what is suspicious in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import _options as options
from bench.cli.data import _tables


def describe(
    name: _tables.Name,
    city: _tables.City = None,
    data_dir: options.DataDir = None,
    scale: options.Scale = None,
    data_seed: options.DataSeed = 0,
    world: options.World = None,
    out: options.Out = Path("runs"),
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Folder of the description.", show_default=False)
    ] = None,
) -> None:
    """Say what a log holds, in numbers and pictures, and what is suspicious in it.

    Counts per step, split and day, carts before purchases, features one by one; leaks, bots, duplicates, clocks.
    The description goes to OUT/describe/NAME-CITY, or to --to.

    Examples:

    - `bench data describe mylog`

    - `bench data describe six_cities --city 6 --scale 0.0001`

    - `bench data describe ga360 --data-dir path/to/export`

    - `bench data describe path/to/tables --to described`
    """
    import os
    import tempfile

    from rich.console import Console

    from bench.core.errors import UserError
    from bench.core.publish import ensure_folder, sweep_staging
    from bench.data.calibration import is_calibrated
    from bench.data.checks import require_columns
    from bench.data.describe.describe import describe as describe_tables
    from reports.describe.page import folder_of, require_replaceable, write_page
    from reports.describe.terminal import show

    console = Console(highlight=False)
    found = _tables.folders(
        console,
        name,
        one=True,
        city=city,
        data_dir=data_dir,
        scale=scale,
        data_seed=data_seed,
        world=world,
        out=out,
    )
    (tables,) = found.values()
    manifest = require_columns(tables)
    title = f"{manifest.dataset}-calibrated" if is_calibrated(manifest) else manifest.dataset
    target = to or out / "describe" / folder_of(title, manifest.city)
    require_replaceable(target)
    try:
        parent = ensure_folder(target.absolute().parent)
    except UserError:
        raise UserError(
            f"the description needs a folder that can be made, but {target} cannot; name another."
        ) from None
    sweep_staging(parent)
    with (
        console.status(f"describing {tables}") as status,
        tempfile.TemporaryDirectory(prefix=f".staging-{os.getpid()}-", dir=parent) as scratch,
    ):
        description = describe_tables(
            tables, Path(scratch), lambda stage: status.update(f"describing {manifest.dataset}: {stage}")
        )
        description = description.model_copy(update={"dataset": title})
        status.update("drawing pictures")
        page = write_page(description, target)
    show(description, console)
    findings = len(description.findings)
    console.print(f"\n{findings or 'nothing'} suspicious; description: {page}", markup=False, soft_wrap=True)
