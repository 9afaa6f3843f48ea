"""``bench data calibrate``: Sample Calibration of any folder of funnel tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bench.cli import _options as options

if TYPE_CHECKING:
    from bench.data.calibration import CalibrationSummary


def calibrate(
    tables: Annotated[
        Path,
        typer.Argument(help="An imported log, or a folder of funnel tables; those of a run lie in OUT/data/tables."),
    ],
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="New folder for the calibrated tables.")],
    mode: Annotated[
        str, typer.Option(help="copy: the earlier cart label stays; move: it goes to the purchase.")
    ] = "copy",
    domain: Annotated[
        str, typer.Option(help="Carts that can match: recommendation, or global: also those of search.")
    ] = "recommendation",
    window_days: Annotated[float | None, typer.Option(help="Oldest cart that can match; default: any.")] = None,
    out: options.Out = Path("runs"),
) -> None:
    """Give purchases whose cart lies in an earlier visit that cart, in the training rows of funnel tables.

    One to one, the latest unconsumed cart first (ESMC Eq. 14). The folder TABLES stays as it is.

    Examples:

    - `bench data calibrate mylog --to calibrated`, then `bench run --data calibrated`

    - `bench data calibrate runs/data/tables/FINGERPRINT --to calibrated`

    - `bench data calibrate runs/data/tables/FINGERPRINT --to moved --mode move --domain global --window-days 7`
    """
    from rich.console import Console

    from bench.core.errors import UserError
    from bench.core.publish import ensure_folder, publishing
    from bench.data import calibrate as work
    from bench.runner.layout import Layout
    from bench.runner.prepare import imported_logs

    console = Console(soft_wrap=True, highlight=False)
    tables = imported_logs(Layout(out)).get(str(tables), tables)
    work.check_request(tables, to, mode=mode, domain=domain, window_days=window_days)
    try:
        ensure_folder(to.absolute().parent)
    except UserError:
        raise UserError(f"--to needs a folder that can be made, but {to} cannot; name another.") from None
    with console.status(f"checking and calibrating {tables}"), publishing(to.absolute()) as staging:
        summary = work.calibrate(tables, staging, mode=mode, domain=domain, window_days=window_days)
    console.print(_table(summary, mode, domain))
    console.print(
        f"the training rows of {to / 'exposures.parquet'} have the new cart labels, {to / 'manifest.json'} says how "
        f"they came about; next: bench run --data {to}",
        markup=False,
    )


def _table(summary: CalibrationSummary, mode: str, domain: str) -> Table:
    table = Table("Sample Calibration", domain)
    numbers = {
        "bad cases: purchases without a cart in their visit": summary.bad_cases,
        "matched with an earlier cart": summary.matched,
        **{f"  from {name}": count for name, count in summary.matched_by_domain.items()},
        "  carts without an exposure row": summary.matched_without_exposure,
        "unmatched": summary.unmatched,
        f"labels changed ({mode})": summary.changed[mode],
    }
    for what, number in numbers.items():
        table.add_row(what, f"{number:,}")
    days = summary.median_days
    table.add_row("median days from cart to purchase", "-" if days is None else f"{days:.1f}")
    table.columns[1].justify = "right"
    return table
