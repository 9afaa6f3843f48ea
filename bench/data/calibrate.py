"""Sample Calibration of funnel tables: the same tables with other cart labels in their training rows."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.cell import digest
from bench.core.errors import UserError
from bench.data.calibration import CART_DOMAINS, CalibrationSummary, is_calibrated, match_carts, summarise
from bench.data.checks import check_tables
from bench.data.sql import connect, fetch, open_tables
from bench.data.tables import MANIFEST, TABLES, Manifest, read_manifest, table_path, write_manifest

MODES: tuple[str, ...] = ("copy", "move")
_BATCH = 1 << 17


def calibrate(
    tables: Path, out: Path, *, mode: str = "copy", domain: str = "recommendation", window_days: float | None = None
) -> CalibrationSummary:
    """Write the funnel tables in ``tables``, calibrated, into the existing empty folder ``out``.

    Purchases in the training rows take carts as :func:`~bench.data.calibration.match_carts` says; ``move`` also
    clears the cart of the earlier row. All other rows and columns stay. The manifest gets a fingerprint of its own,
    counts that fit, and the ``calibration`` in its settings. Equal arguments give equal bytes. Memory grows with the
    matched carts only, by 16 bytes each.

    Raises:
        UserError: as :func:`check_request`; or the tables break what their format promises.
    """
    manifest = check_request(tables, out, mode=mode, domain=domain, window_days=window_days)
    if problems := check_tables(tables):
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        raise UserError(f"{problems[0]}{more}; mend the tables, or make them again.")
    window_days = None if window_days is None else float(window_days)
    scratch = out / "scratch"
    scratch.mkdir()
    try:
        with connect(scratch) as connection:
            open_tables(connection, tables)
            match_carts(connection, domain, window_days).create("matches")
            summary = summarise(connection, "matches")
            taken = fetch(connection, "SELECT purchase FROM matches WHERE matched ORDER BY 1")["purchase"]
            given = fetch(connection, "SELECT cart FROM matches WHERE cart IS NOT NULL ORDER BY 1")["cart"]
    except duckdb.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{tables} must be matched on the disk of {out}, but: {reason}; free disk space.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    given = given if mode == "move" else given[:0]
    for path in (table_path(tables, table) for table in TABLES):
        if path.exists() and path.stem != "exposures":
            shutil.copyfile(path, out / path.name)
    _rewrite(table_path(tables, "exposures"), table_path(out, "exposures"), taken, given)
    write_manifest(out, _described(manifest, mode, domain, window_days, summary))
    return summary


def check_request(tables: Path, out: Path, *, mode: str, domain: str, window_days: float | None) -> Manifest:
    """The manifest of ``tables``, where :func:`calibrate` may begin; makes nothing.

    Raises:
        UserError: a knob is wrong, ``tables`` are no funnel tables or calibrated already, or ``out`` is no new or
            empty folder outside of them.
    """
    if mode not in MODES:
        raise UserError(f"the mode must be {' or '.join(MODES)}, but got {mode!r}.")
    if domain not in CART_DOMAINS:
        raise UserError(f"the domain must be {' or '.join(CART_DOMAINS)}, but got {domain!r}.")
    if window_days is not None and not 0 < window_days < math.inf:
        raise UserError(f"the window must be a number of days above 0, but got {window_days}.")
    if not (tables / MANIFEST).is_file():
        below = sorted(path.parent.name for path in tables.glob(f"*/{MANIFEST}"))
        found = f"but these lie below it: {', '.join(below)}; name one" if below else "but it has none; name another"
        raise UserError(f"{tables} must be a folder of funnel tables with a {MANIFEST}, {found}.")
    manifest = read_manifest(tables)
    if is_calibrated(manifest):
        raise UserError(
            f"{tables} must hold the labels of the log, but was calibrated already; name what it came from."
        )
    if out.resolve().is_relative_to(tables.resolve()):
        raise UserError(f"the new tables must lie outside of {tables}, but {out} does not; name another folder.")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        what = "holds files" if out.is_dir() else "is a file"
        raise UserError(f"the new tables need a new or empty folder, but {out} {what}; name another.")
    return manifest


def _rewrite(source: Path, target: Path, taken: np.ndarray, given: np.ndarray) -> None:
    """Copy ``exposures`` with ``cart`` 1 where the exposure is among ``taken``, 0 among ``given``; both are sorted."""
    with pq.ParquetFile(source) as file:
        index = file.schema_arrow.get_field_index("cart")
        field = file.schema_arrow.field(index)
        chunks = file.metadata.row_group(0).to_dict()["columns"] if file.metadata.num_row_groups else []
        repeated = [chunk["path_in_schema"] for chunk in chunks if chunk["has_dictionary_page"]]
        with pq.ParquetWriter(target, file.schema_arrow, compression="zstd", use_dictionary=repeated) as writer:
            for batch in file.iter_batches(_BATCH):
                exposure = batch["exposure"].to_numpy(zero_copy_only=False)
                cart = np.array(batch["cart"].to_numpy(zero_copy_only=False))
                cart[_among(exposure, taken)] = 1
                cart[_among(exposure, given)] = 0
                writer.write_batch(batch.set_column(index, field, pa.array(cart, type=field.type)))


def _among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which ``values`` are among the sorted ``known``."""
    place = np.searchsorted(known, values)
    found: np.ndarray = place < len(known)
    found[found] = known[place[found]] == values[found]
    return found


def _described(
    manifest: Manifest, mode: str, domain: str, window_days: float | None, summary: CalibrationSummary
) -> Manifest:
    """The manifest of the calibrated tables."""
    done = {"mode": mode, "domain": domain, "window_days": window_days}
    cleared = summary.changed[mode] - summary.matched
    changes = {"carts": summary.matched - cleared, "bad_case_purchases": -summary.matched}
    counts = {name: count + changes.get(name.removeprefix("train_"), 0) for name, count in manifest.counts.items()}
    settings = {**manifest.settings, "calibration": {**done, "summary": summary.model_dump(mode="json")}}
    fingerprint = digest({"calibrated": manifest.fingerprint, **done})
    return manifest.model_copy(update={"fingerprint": fingerprint, "counts": counts, "settings": settings})
