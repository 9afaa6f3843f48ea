"""Lines of TOML with comments, as a proposed specification has them."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any, NamedTuple

#: Marks of lines without which there is no import, and of those that a person should look at.
DECIDE, CHECK = "DECIDE: ", "CHECK: "


class Mark(NamedTuple):
    """A line of a proposal that a person must (``must``) or should look at."""

    line: int
    must: bool
    text: str


def toml(value: Any) -> str:
    """A text, number, truth value, day or list of them in TOML."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def remark(comment: str) -> str:
    """A comment at the end of a line; without control characters."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in comment).split())
    return f"  # {shown}" if shown else ""


def line(key: str, value: Any, comment: str = "") -> str:
    """A key with its value and a comment."""
    return f"{key} = {toml(value)}{remark(comment)}"


def absent(key: str, comment: str) -> str:
    """A key without a value, as a comment."""
    return f'# {key} = "…"{remark(comment)}'


def marks(proposal: str) -> list[Mark]:
    """The lines of a proposal (or of what was made of it) that are marked."""
    found = []
    for number, each in enumerate(proposal.splitlines(), start=1):
        for mark in (DECIDE, CHECK):
            _, marked, told = each.partition(mark)
            if marked:
                key = re.match(r"[#\s]*(\w+)\s*=", each)
                found.append(Mark(number, mark == DECIDE, f"{key[1]}: {told}" if key else told))
    return found
