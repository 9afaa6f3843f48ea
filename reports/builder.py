"""Build a report: every exhibit of every study into one folder with ``report.md``, pictures and CSV files."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.core.cell import Cell
from bench.core.errors import UserError, unknown
from bench.core.publish import publishing
from bench.core.registry import EXHIBITS
from bench.results.store import Store
from reports.exhibit import HERE, Exhibit
from reports.header import header
from reports.markdown import code, details
from reports.study import Study, load_studies

REPORT = "report.md"

#: What exhibits write.
WRITTEN = (".csv", ".png")


def build_report(
    out: Path,
    destination: Path,
    exhibits: Sequence[str] | None = None,
    dataset: str | None = None,
    planned: Iterable[Cell] = (),
) -> Path:
    """Make ``destination`` the report of what is stored in ``out``; returns the path of its ``report.md``.

    It works at any time: what is not stored yet is "-". An exhibit that fails is printed with its error and does
    not stop the others. An earlier report is replaced as a whole, when the new one is complete.

    Args:
        exhibits: names of those to build; all when None.
        dataset: label of the only dataset to report; all when None.
        planned: the cells of a whole run, to tell how many are missing.

    Raises:
        UserError: nothing is stored, a name is unknown, or ``destination`` cannot be written to or is not a report.
    """
    names = EXHIBITS.names()
    for name in exhibits or ():
        if name not in names:
            raise unknown("exhibit", name, names)
    store = Store(out)
    contents = store.scan()
    studies = load_studies(store, contents, dataset, planned)
    if destination.exists() and not _replaceable(destination):
        raise UserError(f"{destination} must be a report or empty, but holds other files; choose another folder.")
    chosen = names if exhibits is None else exhibits
    whole = studies if dataset is not None else _whole(studies)
    with publishing(destination) as staging:
        fragments = [_section(f"## {study.title}", study, staging, chosen, "study") for study in whole]
        fragments.append(_section("## Models and papers", whole[0], staging, chosen, "report"))
        text = "\n\n".join(filter(None, [header(whole, studies, contents), *fragments]))
        (staging / REPORT).write_text(text + "\n", encoding="utf-8")
        shutil.rmtree(destination, ignore_errors=True)
    return destination / REPORT


def _replaceable(folder: Path) -> bool:
    """Whether a folder is empty or holds a report and nothing else."""
    if not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    return not names or (REPORT in names and all(name == REPORT or name.endswith(WRITTEN) for name in names))


def _whole(studies: Sequence[Study]) -> list[Study]:
    """The studies with a section of their own: all but the worlds that an exhibit shows beside another.

    The one with the most cells comes first, since each of two worlds may be beside the other.
    """
    worlds = {world for kind in EXHIBITS.all().values() for demand in kind.demands for world in demand.worlds}
    worlds.discard(HERE)
    whole: list[Study] = []
    beside: set[tuple[str | None, str]] = set()
    for study in sorted(studies, key=lambda study: -len(study.records)):
        if (study.dataset, study.preset) not in beside:
            whole.append(study)
            beside |= {(study.world_label(world.knobs, world.size), study.preset) for world in worlds}
    return [study for study in studies if study in whole]


def _section(title: str, study: Study, folder: Path, names: Iterable[str], scope: str) -> str:
    """The exhibits of one scope; empty where there are none."""
    loaded = EXHIBITS.all()
    ready = [kind for name in set(names) & loaded.keys() if (kind := loaded[name]).scope == scope]
    ready = [kind for kind in ready if scope == "report" or kind.applies(study)]
    parts = [title]
    for kind in sorted(ready, key=lambda kind: (kind.order, kind.name)):
        parts += [f"### {kind.title}", _build(kind(), study, folder)]
    for name in sorted(set(names) - loaded.keys()) if scope == "report" else ():
        parts += [f"### {name}", _failed(name, "cannot be imported", EXHIBITS.broken.get(name, ""))]
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _build(exhibit: Exhibit, study: Study, folder: Path) -> str:
    try:
        return exhibit.build(study, folder)
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return _failed(exhibit.name, f"failed: {reason}", traceback.format_exc())


def _failed(name: str, reason: str, trace: str) -> str:
    return f"**The exhibit `{name}` {reason}**\n\n{details('traceback', code(trace))}"
