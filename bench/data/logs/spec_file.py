"""Reading the specification of an import from TOML; what is wrong is told with its line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.core.errors import UserError, unknown
from bench.data.logs.spec import Spec

_KEY = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_KEYS = rf"(?:{_KEY.pattern})(?:\s*\.\s*(?:{_KEY.pattern}))*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEYS})\s*\]\]?\s*(?:#.*)?$")
_PAIR = re.compile(rf"\s*({_KEYS})\s*=")


def read_spec(path: Path) -> Spec:
    """The specification in a TOML file.

    Raises:
        UserError: it cannot be read, is no TOML, or has a key or value that is wrong: with its line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = tomllib.loads(text)
    except OSError as error:
        raise UserError(
            f"--spec must be a TOML file, but {path} cannot be read ({error.strerror}); `bench data init-spec FILES` "
            "proposes one."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} must be TOML, but: {error}; mend that line.") from None
    try:
        return Spec.model_validate(values)
    except ValidationError as error:
        raise UserError(_explained(path, text, error)) from None


def _explained(path: Path, text: str, error: ValidationError) -> str:
    """The first problem in words, with the line of its key."""
    # An unknown key first: another one may be missing because of it.
    first, *others = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    more = len(others)
    place = (*first["loc"], *getattr(first.get("ctx", {}).get("error"), "place", ()))
    line = line_of(text, place)
    where = f"{path}{f' line {line}' if line else ''}: {'.'.join(map(str, first['loc'])) or 'the specification'}"
    also = f" ({more} more after it)" if more else ""
    if first["type"] == "extra_forbidden":
        return f"{where}: {unknown('key', str(place[-1]), _known_keys(place[:-1]))}{also}"
    if first["type"] == "missing":
        return f"{where} must be there, but is missing; add it{also}."
    if first["type"] == "tuple_type":
        return f"{where} must be a list such as [{first['input']!r}], but is no list; mend it{also}."
    message = first["msg"].removeprefix("Value error, ")
    if message.startswith("must"):
        return f"{where} {message}; mend it{also}."
    return f"{where}: {message[:1].lower()}{message[1:]}, but got {first['input']!r}; mend it{also}."


def _known_keys(place: tuple[int | str, ...]) -> list[str]:
    """Keys of the table at ``place``."""
    model: type[BaseModel] = Spec
    for part in place:
        field = model.model_fields.get(str(part))  # none for an index of a list
        kinds: list[Any] = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return list(model.model_fields)


def line_of(text: str, place: tuple[int | str, ...]) -> int | None:
    """The line of the key at ``place`` in a TOML text, else that of the innermost table around it, else None."""
    found, deepest = None, 0
    table: tuple[int | str, ...] = ()
    last: dict[tuple[int | str, ...], int] = {}  # index of the latest table of an array of tables
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table, keys = (), _KEY.findall(header[2])
            for i, key in enumerate(keys):
                table = (*table, key.strip("\"'"))
                if header[1] == "[[" and i == len(keys) - 1:
                    last[table] = last.get(table, -1) + 1
                if table in last:
                    table = (*table, last[table])
            path = table
        elif pair := _PAIR.match(line):
            path = (*table, *(key.strip("\"'") for key in _KEY.findall(pair[1])))
        else:
            continue
        if len(path) > deepest and place[: len(path)] == path:
            found, deepest = number, len(path)
    return found
