"""Raw files of a log below ``--data-dir``: found, or one line that says what is missing; and their fingerprint."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.core.cell import digest
from bench.core.errors import UserError
from bench.core.publish import checksum
from bench.data.logs.funnel import IMPORT_VERSION
from bench.data.tables import TABLES_VERSION

#: Endings that a raw file may have beside its own: DuckDB reads these.
COMPRESSED: tuple[str, ...] = ("", ".gz", ".zst")


def data_folder(dataset: str, data_dir: Path | None) -> Path:
    """The folder with the raw files.

    Raises:
        UserError: none was given, or it is none.
    """
    if data_dir is None:
        raise UserError(f"{dataset} must know where its files lie, but got no folder; give it with --data-dir.")
    if not data_dir.is_dir():
        what = "is a file" if data_dir.exists() else "does not exist"
        raise UserError(f"--data-dir must be the folder with the files of {dataset}, but {data_dir} {what}.")
    return data_dir


def find_file(dataset: str, data_dir: Path | None, names: Sequence[str]) -> Path:
    """The first of ``names`` that lies in the folder, plain or compressed.

    Raises:
        UserError: there is no folder, or none of them in it.
    """
    folder = data_folder(dataset, data_dir)
    for name in names:
        for ending in COMPRESSED:
            if (path := folder / f"{name}{ending}").is_file():
                return path
    raise UserError(
        f"{dataset} must find {' or '.join(names)} (or .gz, .zst) in {folder}, but it is not there; "
        "put the file of the official layout there."
    )


def find_files(dataset: str, data_dir: Path | None, patterns: Iterable[str]) -> list[Path]:
    """All files in the folder that match one of ``patterns``, plain or compressed, sorted by name.

    Of a file that is there in several forms, one: the plain one, else the first of ``COMPRESSED``.

    Raises:
        UserError: there is no folder, or no such file in it.
    """
    folder, patterns = data_folder(dataset, data_dir), list(patterns)
    found: dict[str, Path] = {}
    for ending in COMPRESSED:
        for path in (path for pattern in patterns for path in folder.glob(f"{pattern}{ending}") if path.is_file()):
            found.setdefault(path.name.removesuffix(ending), path)
    if not (files := sorted(found.values())):
        raise UserError(
            f"{dataset} must find {' or '.join(patterns)} (or .gz, .zst) in {folder}, but has no such file; "
            "put the files of the official layout there."
        )
    return files


def fingerprint_of(dataset: str, reader_version: int, city: str, files: Iterable[Path]) -> str:
    """A hash of everything that decides the funnel tables: version of the reader, city, bytes of the files."""
    sums = {path.name: _checksum_of(path, *_state(path)) for path in files}
    versions = {"reader": reader_version, "import": IMPORT_VERSION, "tables": TABLES_VERSION}
    return digest({"dataset": dataset, "city": city, "files": sums, **versions})


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@functools.lru_cache(maxsize=256)
def _checksum_of(path: Path, size: int, changed: int) -> str:
    """The checksum of a file, read once per process and state: some are of many gigabytes."""
    return checksum(path)
