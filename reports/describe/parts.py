"""What a description is made of, before it is text in a terminal or Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A table with a title above it.

    ``folded``: behind its title in Markdown, left out in the terminal; ``wide``: columns left out in the terminal.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False
    wide: tuple[int, ...] = ()


@dataclass(frozen=True)
class Section:
    """A heading, sentences, a numbered list, tables, and pictures: file name → what it shows."""

    title: str
    text: Sequence[str] = ()
    points: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
