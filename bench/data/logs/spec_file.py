"""Reading the specification of an import from TOML; what is wrong is told with its line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.core.errors import UserError, unknown
from bench.data.logs.spec import Spec


def read_spec(path: Path) -> Spec:
    """The specification in a TOML file.

    Raises:
        UserError: it cannot be read, is no TOML, or has a key or value that is wrong: with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
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
    first, more = error.errors()[0], len(error.errors()) - 1
    place = first["loc"]
    line = line_of(text, place)
    where = f"{path}{f' line {line}' if line else ''}: {'.'.join(map(str, place)) or 'the specification'}"
    also = f" ({more} more after it)" if more else ""
    if first["type"] == "extra_forbidden":
        return f"{where}: {unknown('key', str(place[-1]), _known_keys(place[:-1]))}{also}"
    if first["type"] == "missing":
        return f"{where} must be there, but is missing; add it{also}."
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
    """The line of the key at ``place`` in a TOML text, else that of its table, else None."""
    keys = [part for part in place if isinstance(part, str)]
    number_of_table = next((part for part in place if isinstance(part, int)), 0)
    table, seen, header = "", -1, None
    for number, line in enumerate(text.splitlines(), start=1):
        if found := re.match(r"\s*\[+\s*([\w.]+)\s*\]+", line):
            table = found[1]
            seen += table == keys[:1][0] if keys else 0
            if table == ".".join(keys[:-1]) or (table == ".".join(keys) and seen <= number_of_table):
                header = number
        elif (
            keys
            and table == ".".join(keys[:-1])
            and (not table or seen in (-1, number_of_table))
            and re.match(rf"\s*{re.escape(keys[-1])}\s*=", line)
        ):
            return number
    return header
