"""The ``bench`` command: finds the commands, prints a user's errors on one line, keeps exit codes."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import typer
from rich.console import Console

import bench.cli
from bench.core.errors import UserError

#: Exit codes: 0 all well, 1 some cells failed or checks found something, 2 the user can mend it, 130 interrupted.
USER_ERROR, INTERRUPTED = 2, 130


def application() -> typer.Typer:
    """All commands below ``bench/cli``: a file is a command, a folder is a group of commands."""
    return _group(
        bench.cli,
        "bench",
        "The ESM benchmark: conversion-rate models over the entire space, compared fairly.\n\n"
        "First steps: `bench run --all-cities`, then `bench report`.",
    )


def _group(package: ModuleType, name: str, text: str) -> typer.Typer:
    """The commands in ``package``: one per file, and a group of commands per package below it.

    The function is called like the file; a command's name has dashes, and no underscore that keeps it from being a
    keyword.
    """
    app = typer.Typer(
        name=name,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        help=text,
    )
    for info in pkgutil.iter_modules(package.__path__):
        if info.name.startswith("_") or info.name == "main":
            continue
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        if info.ispkg:
            app.add_typer(_group(module, info.name, module.__doc__ or ""))
        else:
            command = info.name.rstrip("_").replace("_", "-")
            app.command(command)(_interruptible(getattr(module, info.name)))
    return app


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """``command``, stopped by Ctrl-C with one line."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (KeyboardInterrupt, RuntimeError) as error:
            if isinstance(error, RuntimeError) and str(error) != "Query interrupted":  # DuckDB's word for Ctrl-C
                raise
            _complain("stopped.")
            raise typer.Exit(INTERRUPTED) from None

    return wrapped


def main() -> None:
    """Entry point of the console script."""
    try:
        application()()
    except UserError as error:
        _complain(f"error: {error}")
        sys.exit(USER_ERROR)
    except OSError as error:  # no space, no permission: anywhere
        path = error.filename2 or error.filename or "a file"
        _complain(f"error: {path} cannot be used: {error.strerror or error}; mend it and run again.")
        sys.exit(USER_ERROR)


def _complain(line: str) -> None:
    Console(stderr=True, soft_wrap=True).print(line, style="bold red", markup=False, highlight=False)


if __name__ == "__main__":
    main()
