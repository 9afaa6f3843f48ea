"""What the readers of Ali-CCP and AliExpress share: a stable share, archives still packed, files as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from bench.core.errors import UserError
from bench.data.sources._delimited import readable
from bench.data.sources._files import data_folder
from bench.data.sql import text
from bench.data.vocabulary import bucket

PARTS: tuple[str, ...] = ("train", "test")
#: What to do about a broken file.
AGAIN = "unpack or download the file again"
#: Of so many keys one is held out for validation, about.
VALID_EVERY = 10


def digit(key: str) -> str:
    """SQL: the first 15 hexadecimal digits of the MD5 of ``key`` (text or integer) modulo ``VALID_EVERY``."""
    return f"({bucket(key, VALID_EVERY)} - 1)"


def refuse_packed(dataset: str, data_dir: Path | None, wanted: str, archives: Sequence[str], command: str) -> None:
    """Say of archives that match ``archives`` that they are to be unpacked, with ``command`` and their name.

    Raises:
        UserError: there is no folder, or one in it or in a folder below it.
    """
    folder = data_folder(dataset, data_dir)
    for pattern in archives:
        for path in sorted((*folder.glob(pattern), *folder.glob(f"*/{pattern}"))):
            raise UserError(
                f"{dataset} must find {wanted} in {folder}, but finds {path.name}, which is packed; unpack it there "
                f"({command} {path.name}) and run again."
            )


def store(connection: duckdb.DuckDBPyConnection, path: Path, query: str, target: Path) -> None:
    """Write the result of ``query``, which reads ``path``, to the Parquet file ``target``.

    Raises:
        UserError: the file is empty or broken.
    """
    with readable(path):
        rows = connection.execute(f"COPY ({query}) TO {text(target)} (FORMAT parquet, COMPRESSION lz4)").fetchall()
    if not rows[0][0]:
        raise UserError(f"{path} must have lines, but is empty; {AGAIN}.")
