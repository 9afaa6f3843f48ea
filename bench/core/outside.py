"""A Python file outside the project, given by path: one file = one entry, told from its earlier versions by a hash."""

from __future__ import annotations

import hashlib
import keyword
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from bench.core.errors import UserError


class OutsideFile(NamedTuple):
    """A loaded file. ``code`` is the start of the sha256 of its bytes: an edited file is another one."""

    path: Path
    code: str
    entry: Any


def load_file(kind: str, path: Path, code: str | None = None, known: OutsideFile | None = None) -> OutsideFile:
    """Run the file ``foo.py`` and take its object with ``name == "foo"``.

    The bytes that are hashed are those that run, whatever happens to the file meanwhile.

    Args:
        kind: what the entry is, for messages.
        path: the file.
        code: what its ``code`` must be; None for anything.
        known: the file as it was loaded before; given back where it has not changed.

    Raises:
        UserError: it is missing, misnamed or not the expected one, it cannot be imported, or has no such object.
    """
    name = path.stem
    if path.suffix != ".py" or not name.isidentifier() or keyword.iskeyword(name):
        raise UserError(f"a {kind} file must be called as in Python, such as my_{kind}.py, but got {path}; rename it.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"a {kind} file must be readable, but {path} is not: {error.strerror}; check the path."
        ) from None
    found = hashlib.sha256(data).hexdigest()[:16]
    if code not in (None, found):
        raise UserError(f"{path} must stay as it was when the run began, but was edited; run again.")
    if known is not None and known.code == found:
        return known
    module = ModuleType(f"bench_{kind}_file_{name}_{found}")
    module.__file__ = str(path.resolve())
    sys.modules[module.__name__] = module
    try:
        # Not by importlib: it would take the bytecode of an earlier version of the same second and size.
        exec(compile(data, module.__file__, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        reason = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
        raise UserError(f"{path}{_line(error, module.__file__)} cannot be imported: {reason}; mend it.") from error
    named = {str(each.name): each for each in vars(module).values() if isinstance(getattr(each, "name", None), str)}
    if name not in named:
        own = [each for each in named if getattr(named[each], "__module__", None) == module.__name__]
        has = f"has {', '.join(map(repr, own))} only" if own else "has none"
        raise UserError(f"{path} must have a {kind} whose name is {name!r}, but {has}; set name = {name!r}.")
    return OutsideFile(path.resolve(), found, named[name])


def _line(error: BaseException, file: str) -> str:
    """`` line 3`` where an error was raised in ``file``, or on behalf of it."""
    if isinstance(error, SyntaxError) and error.filename == file and error.lineno:
        return f" line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" line {lines[-1]}" if lines else ""
