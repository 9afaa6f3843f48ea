"""A registry that scans folders: one file = one entry, found by file name, never by an if-chain."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench.core.errors import UserError, unknown
from bench.core.outside import OutsideFile, load_file

T = TypeVar("T")


class Registry(Generic[T]):
    """The entries of some packages. In a module ``foo.py`` the entry is the one object with ``name == "foo"``.

    Modules whose name starts with ``_`` are helpers and skipped. A module that cannot be imported, or that
    has no entry, is kept in :attr:`broken` with its error: it never vanishes. :meth:`add_file` adds a file from
    outside the packages.
    """

    def __init__(self, kind: str, packages: Sequence[str]) -> None:
        self.kind = kind
        self.packages = tuple(packages)
        self.broken: dict[str, str] = {}
        self._found: dict[str, T] | None = None
        self._outside: dict[str, OutsideFile] = {}

    def names(self) -> list[str]:
        """Names of all files, importable or not, without importing them."""
        return sorted({*self._modules(), *self._outside})

    def all(self) -> dict[str, T]:
        """Every entry that can be imported, by name; the others are in :attr:`broken`."""
        if self._found is None:
            self._found = {}
            for name, module in sorted(self._modules().items()):
                try:
                    self._found[name] = _entry(importlib.import_module(module), name)
                except Exception:
                    self.broken[name] = traceback.format_exc(limit=-3)
        return self._found | {name: file.entry for name, file in self._outside.items()}

    def get(self, name: str) -> T:
        """The entry of that name.

        Raises:
            UserError: there is no such file, or it cannot be imported.
        """
        if name in self._outside:
            outside: T = self._outside[name].entry
            return outside
        modules = self._modules()
        if name not in modules:
            raise unknown(self.kind, name, modules)
        try:
            entry: T = _entry(importlib.import_module(modules[name]), name)
        except Exception as error:
            raise UserError(f"the {self.kind} {name!r} cannot be imported: {error!r}; run `bench check`.") from error
        return entry

    def add_file(
        self, path: Path, code: str | None = None, fault: Callable[[Any], str | None] = lambda entry: None
    ) -> str:
        """Make the entry of a file outside the packages known; returns its name, which is the file's.

        A file that has changed since it was added takes the place of what it was.

        Args:
            code: what :attr:`OutsideFile.code` must be.
            fault: what is wrong with an entry and how to mend it, e.g. ``must have a title; add one``; or None.

        Raises:
            UserError: the name is taken, the file has another code, it cannot be loaded (see :func:`load_file`), or
                its entry has a fault.
        """
        name, known = path.stem, self._outside.get(path.stem)
        if name in self._modules():
            raise UserError(
                f"a {self.kind} file must have a name of its own, but {path} is called as the built-in "
                f"{self.kind} {name!r}; rename it."
            )
        if known is not None and known.path != path.resolve():
            raise UserError(
                f"{self.kind} files must have different names, but {known.path} and {path} have one; rename one."
            )
        file = load_file(self.kind, path, code, known)
        if wrong := fault(file.entry):
            raise UserError(f"the {self.kind} in {path} {wrong}.")
        self._outside[name] = file
        return name

    def outside(self, name: str) -> OutsideFile | None:
        """The file from outside the packages that gave the entry of that name; None for any other entry."""
        return self._outside.get(name)

    def code(self, name: str) -> str:
        """:attr:`OutsideFile.code` of the entry of that name; empty for one of the packages."""
        return self._outside[name].code if name in self._outside else ""

    def _modules(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for package in self.packages:
            root = importlib.import_module(package)
            for info in pkgutil.iter_modules(root.__path__):
                if not info.name.startswith("_") and not info.ispkg:
                    found[info.name] = f"{package}.{info.name}"
        return found


def _entry(module: Any, name: str) -> Any:
    for candidate in vars(module).values():
        if getattr(candidate, "name", None) == name:
            return candidate
    raise ImportError(f"{module.__name__} has no object whose name is {name!r}")


MODELS: Registry[Any] = Registry("model", ("baselines", "esm_models"))
SOURCES: Registry[Any] = Registry("dataset", ("bench.data.sources",))
EXHIBITS: Registry[Any] = Registry("exhibit", ("reports.exhibits",))
