"""A description as a folder: Markdown, pictures, and all of its numbers as JSON."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from bench.core.errors import UserError
from bench.core.publish import publishing
from bench.data.describe.results import Description
from reports import markdown
from reports.describe.parts import Section, Table
from reports.describe.pictures import draw_carts, draw_days, draw_hours, draw_spreads
from reports.describe.sections import CARTS, DAYS, HOURS, SPREADS, sections, summary, title_of

PAGE, NUMBERS = "description.md", "description.json"
_WRITTEN = {PAGE, NUMBERS, DAYS, HOURS, SPREADS, CARTS}


def folder_of(dataset: str, city: str) -> str:
    """``NAME-CITY``, in letters that a file system takes."""
    return re.sub(r"[^\w.-]+", "_", f"{dataset}-{city}").lstrip(".")


def require_replaceable(folder: Path) -> None:
    """Refuse to write over anything but an earlier description.

    Raises:
        UserError: ``folder`` is a file, or holds other files.
    """
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if names - _WRITTEN or (names and PAGE not in names):
        raise UserError(
            f"{folder} must be a description or empty, but is or holds {sorted(names - _WRITTEN or names)[0]}; choose "
            "another folder with --to."
        )


def write_page(found: Description, folder: Path) -> Path:
    """Make ``folder`` the description; returns the path of its Markdown. An earlier one is replaced as a whole.

    Raises:
        UserError: ``folder`` cannot be written to, or holds other files.
    """
    require_replaceable(folder)
    with publishing(folder) as staging:
        _draw(found, staging)
        (staging / PAGE).write_text(page(found), encoding="utf-8")
        (staging / NUMBERS).write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
    return folder / PAGE


def page(found: Description) -> str:
    """The Markdown."""
    parts = [f"# {title_of(found)}", summary(found)]
    for section in sections(found):
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"## {section.title}", *section.text]
    if section.points:
        parts.append("\n".join(f"{index}. {point}" for index, point in enumerate(section.points, start=1)))
    parts += [markdown.picture(name, shows) for name, shows in section.pictures.items()]
    for table in section.tables:
        body = markdown.table(table.header, table.rows)
        parts += [markdown.details(table.title, body)] if table.folded else _titled(section, table, body)
    return parts


def _titled(section: Section, table: Table, body: str) -> list[str]:
    return [body] if len(section.tables) == 1 else [f"**{table.title}**", body]


def _draw(found: Description, folder: Path) -> None:
    title = title_of(found)
    draw_spreads(found, title, folder / SPREADS)
    if found.times is not None:
        draw_days(found, found.times, title, folder / DAYS)
        draw_hours(found.times, title, folder / HOURS)
    if found.carts is not None and found.carts.days and "cart" not in found.lacks:
        draw_carts(found.carts, title, folder / CARTS)
