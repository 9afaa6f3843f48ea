"""Funnel tables of your own: an import, calibrated tables, or what another program wrote in the documented format."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from bench.core.cell import digest
from bench.core.errors import UserError
from bench.data.source import Source
from bench.data.tables import MANIFEST, Manifest, read_manifest, write_manifest


class Tables(Source):
    """Funnel tables in ``--data-dir``, or in folders below it, one per city. The label is the folder's name."""

    name: ClassVar[str] = "tables"
    summary: ClassVar[str] = "funnel tables of your own: a folder with a manifest.json, or with one folder per city"

    @property
    def label(self) -> str:
        return self._root().name

    def cities(self) -> list[str]:
        return list(self._manifests())

    def lacks_of(self, city: str) -> Mapping[str, str]:
        return self._manifests()[self.require(city)][1].lacks

    def fingerprint(self, city: str) -> str:
        _, manifest = self._manifests()[self.require(city)]
        return digest({"tables": manifest.fingerprint, "files": manifest.checksums, "label": self.label})

    def write(self, city: str, folder: Path) -> None:
        source, manifest = self._manifests()[self.require(city)]
        for file in manifest.checksums:
            try:
                os.link((source / file).resolve(strict=True), folder / file)
            except FileNotFoundError:
                raise UserError(f"{source} must hold the {file} of its {MANIFEST}, but it is missing.") from None
            except OSError:  # another file system
                shutil.copyfile(source / file, folder / file)
        write_manifest(
            folder, manifest.model_copy(update={"fingerprint": self.fingerprint(city), "dataset": self.label})
        )
        if read_manifest(folder).checksums != manifest.checksums:
            raise UserError(
                f"{source} must hold what its {MANIFEST} says, but a checksum differs; see `bench data check {source}` "
                "and make the tables again."
            )

    def _root(self) -> Path:
        if self.options.data_dir is None:
            raise UserError("tables must know where they lie, but got no folder; give it with --data-dir.")
        return self.options.data_dir.resolve()

    def _manifests(self) -> dict[str, tuple[Path, Manifest]]:
        """Folder and manifest by city."""
        root = self._root()
        folders = (
            [root] if (root / MANIFEST).is_file() else sorted(path.parent for path in root.glob(f"[!.]*/{MANIFEST}"))
        )
        if not folders:
            raise UserError(
                f"{root} must hold funnel tables with a {MANIFEST}, or folders of them, but has none; "
                "`bench data import` makes them."
            )
        found: dict[str, tuple[Path, Manifest]] = {}
        for folder in folders:
            manifest = read_manifest(folder)
            if manifest.city in found:
                raise UserError(
                    f"cities below {root} must differ, but {manifest.city!r} is there twice; name one folder."
                )
            found[manifest.city] = (folder, manifest)
        return found
