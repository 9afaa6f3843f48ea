"""A public log whose files can be imported as they are: its reader is a fixed specification."""

from __future__ import annotations

import glob
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from bench.core.cell import digest
from bench.data.logs.importing import import_log
from bench.data.logs.reading import find
from bench.data.logs.spec import Spec
from bench.data.source import Source
from bench.data.sources._files import data_folder, fingerprint_of


class ImportedLog(Source):
    """One city; the funnel tables are what an import of :meth:`specification` gives."""

    city: ClassVar[str]
    reader_version: ClassVar[int] = 1
    #: Sentences for the manifest.
    notes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def specification(self) -> Spec:
        """How the files in ``data_dir`` are read.

        Raises:
            UserError: there is no such folder, or a file is missing.
        """

    def cities(self) -> list[str]:
        return [self.city]

    def fingerprint(self, city: str) -> str:
        self.require(city)
        return self._hashed(self.specification())

    def write(self, city: str, folder: Path) -> None:
        self.require(city)
        spec = self.specification()
        import_log(
            spec,
            folder,
            root=self._root(),
            city=city,
            fingerprint=self._hashed(spec),
            lacks=self.lacks,
            notes=self.notes,
        )

    def _root(self) -> Path:
        return data_folder(self.name, self.options.data_dir)

    def _hashed(self, spec: Spec) -> str:
        files = [path for part in (spec, spec.users, spec.items) if part for path in find(part.files, self._root())]
        import_hash = fingerprint_of(self.name, self.reader_version, self.city, files)
        return digest({"import": import_hash, "spec": spec.model_dump(mode="json")})


def names_of(files: Iterable[Path]) -> tuple[str, ...]:
    """Files of one folder as a specification lists them."""
    return tuple(glob.escape(path.name) for path in files)
