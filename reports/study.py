"""What a report is about: the finished cells of one dataset under one protocol, one fingerprint per city."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.core.cell import Cell
from bench.core.config import PRESETS, validated, variant
from bench.core.errors import UserError, unknown
from bench.core.record import Failure, Record
from bench.core.registry import SOURCES
from bench.data.source import Source, SourceOptions
from bench.data.tables import Manifest, read_manifest
from bench.results.store import Contents, Store
from reports import style
from reports.published import Published, is_published, load_published


@dataclass(eq=False)
class Study:
    """The cells of a dataset whose configuration is nearest to one preset. ``notes`` collects what to tell.

    ``records`` are finished cells with test predictions; ``variants`` tells by key which knobs differ from the
    preset (empty text: none). ``main`` are the keys of the cells that models are compared by: those with the
    preset's configuration or, where a city has a model in one other configuration only, those. ``missing`` counts
    cells that would complete the grid of cities, models and seeds. ``siblings`` are the studies of the same preset
    by dataset, this one among them; ``report`` are all studies of the report, for exhibits that are built once.
    """

    store: Store
    published: Published
    dataset: str
    preset: str
    records: list[Record]
    variants: dict[str, str]
    main: frozenset[str]
    fingerprints: dict[str, str]
    failed: int = 0
    missing: int = 0
    notes: list[str] = field(default_factory=list)
    siblings: dict[str, Study] = field(default_factory=dict)
    report: list[Study] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"{self.dataset}, preset {self.preset}"

    @property
    def slug(self) -> str:
        """Part of the names of this study's pictures."""
        return re.sub(r"[^\w.-]+", "-", f"{self.dataset}-{self.preset}")

    @property
    def cities(self) -> list[str]:
        return sorted(self.fingerprints, key=natural)

    @property
    def models(self) -> list[str]:
        """Models with a main configuration, in the papers' order."""
        return style.in_order(record.cell.model for record in self.records if record.key in self.main)

    @property
    def seeds(self) -> list[int]:
        return sorted({record.cell.seed for record in self.records})

    def of_city(self, city: str) -> list[Record]:
        """Finished cells of a city, by seed."""
        return sorted((r for r in self.records if r.cell.city == city), key=lambda r: (r.cell.seed, r.key))

    def variant_of(self, changes: Mapping[str, Any]) -> str:
        """What :attr:`variants` calls the preset with these changes."""
        return variant(validated(PRESETS[self.preset].model_dump() | dict(changes)))[1]

    @cached_property
    def source(self) -> Source | None:
        """The simulated dataset as it was made; None for a log, or where no funnel tables are stored."""
        for city in self.cities:
            manifest = self.manifest(city)
            if manifest is not None and manifest.origin == "simulated" and "knobs" in manifest.settings:
                settings = manifest.settings
                options = SourceOptions(scale=settings["scale"], seed=settings["seed"], knobs=settings["knobs"])
                source: Source = SOURCES.get(self.dataset.partition("-")[0])(options)
                return source
        return None

    def world_label(self, knobs: Mapping[str, Any], size: float = 1.0) -> str | None:
        """Label of the dataset with other knobs of the simulation and ``size`` times its scale.

        None for a log, and for a simulation without such knobs.
        """
        try:
            return None if self.source is None else self.source.varied(knobs, size).label
        except UserError:
            return None

    def world(self, knobs: Mapping[str, Any], size: float = 1.0) -> Study | None:
        """The study of that world, or None where nothing of it is stored."""
        label = self.world_label(knobs, size)
        return None if label is None else self.siblings.get(label)

    def manifest(self, city: str) -> Manifest | None:
        """The city's funnel tables, or None where they are not stored."""
        try:
            return read_manifest(self.store.out / "data" / "tables" / self.fingerprints[city])
        except UserError as error:
            self.note(f"city {city}: {error}")
            return None

    def note(self, text: str) -> None:
        """Something the reader must know; repeated notes are kept once."""
        if text not in self.notes:
            self.notes.append(text)


def load_studies(
    store: Store, contents: Contents, dataset: str | None = None, planned: Iterable[Cell] = ()
) -> list[Study]:
    """The studies in a store, by dataset and preset; trials are left out.

    Where a city is stored with several fingerprints, the newest is taken and a note says so; so is the newest
    version of a model file. Missing cells are those of ``planned`` that are not stored; without it, those that
    complete the grid of what is stored or failed.

    Raises:
        UserError: there is nothing to report, or nothing of that dataset.
    """
    records = {record.key: record for record in contents.records if record.cell.test}
    failed = {failure.key: failure.cell for failure in contents.failures if failure.cell.test}
    wanted = {cell.key: cell for cell in planned}
    cells = wanted | failed | {key: record.cell for key, record in records.items()}
    codes = _codes(contents, wanted.values())
    superseded = {(cell.dataset, cell.model) for cell in cells.values() if cell.code != codes[cell.model]}
    cells = {key: cell for key, cell in cells.items() if cell.code == codes[cell.model]}
    datasets = {cell.dataset for cell in cells.values()}
    if not datasets:
        raise UserError(f"{store.out} must hold finished cells, but has none; start `bench run` first.")
    if dataset is not None and dataset not in datasets:
        raise unknown("dataset", dataset, datasets)

    newest = _newest(cells.values(), records.values())
    groups: dict[tuple[str, str], dict[str, Cell]] = {}
    older: dict[str, set[str]] = {}
    configurations = {key: variant(cell.config) for key, cell in cells.items()}
    for key, cell in cells.items():
        if cell.fingerprint == newest[cell.dataset, cell.city]:
            groups.setdefault((cell.dataset, configurations[key][0]), {})[key] = cell
        else:
            older.setdefault(cell.dataset, set()).add(cell.city)
    studies = []
    for name, preset in sorted(groups, key=_place):
        members = groups[name, preset]
        variants = {key: configurations[key][1] for key in members}
        main = _main(members, variants)
        left = members.keys() & wanted.keys() - records.keys() - failed.keys()
        study = Study(
            store=store,
            published=load_published(),
            dataset=name,
            preset=preset,
            records=[records[key] for key in sorted(members.keys() & records.keys())],
            variants=variants,
            main=main,
            fingerprints={cell.city: cell.fingerprint for cell in members.values()},
            failed=len(members.keys() & failed.keys()),
            missing=len(left) if wanted else _holes([members[key] for key in main]),
        )
        if name in older:
            cities = ", ".join(sorted(older[name], key=natural))
            study.note(f"city {cities}: cells of older data are left out, only those of the newest are shown")
        for model in sorted(model for place, model in superseded if place == name):
            study.note(f"{style.title(model)}: cells of older versions of its file are left out")
        for model, knobs in sorted({(members[key].model, variants[key]) for key in main if variants[key]}):
            study.note(f"{style.title(model)} is compared with {knobs}, the only configuration of it in some city")
        studies.append(study)
    for study in studies:
        study.siblings = {other.dataset: other for other in studies if other.preset == study.preset}
    chosen = [study for study in studies if dataset in (None, study.dataset)]
    for study in chosen:
        study.report = chosen
    return chosen


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key with numbers in numeric order: city 2 before city 10, numbers before words."""
    return [(int(part), "") if part.isdigit() else (10**9, part) for part in re.split(r"(\d+)", text) if part]


def _place(group: tuple[str, str]) -> tuple[bool, str, int]:
    """Where a study stands in a report: the paper's cities first, presets as they are declared."""
    dataset, preset = group
    return not is_published(dataset), dataset, list(PRESETS).index(preset)


def _newest(cells: Iterable[Cell], records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """By dataset and city, the fingerprint of the newest record; any cell's where nothing is finished."""
    found = {(cell.dataset, cell.city): cell.fingerprint for cell in cells}
    for record in sorted(records, key=lambda record: record.created):
        found[record.cell.dataset, record.cell.city] = record.cell.fingerprint
    return found


def _codes(contents: Contents, planned: Iterable[Cell]) -> dict[str, str]:
    """By model, the version of its file that was last asked for; that of the newest cell where none was."""
    finished: list[Record | Failure] = [*contents.records, *contents.failures]
    found = {each.cell.model: each.cell.code for each in sorted(finished, key=lambda each: each.created)}
    return found | {cell.model: cell.code for cell in planned}


def _main(cells: dict[str, Cell], variants: dict[str, str]) -> frozenset[str]:
    """Keys of the cells with the preset's configuration, or with the only one that a model has in a city."""
    found: dict[tuple[str, str], set[str]] = {}
    for key, cell in cells.items():
        found.setdefault((cell.city, cell.model), set()).add(variants[key])
    chosen = {place: "" if "" in texts or len(texts) > 1 else min(texts) for place, texts in found.items()}
    return frozenset(key for key, cell in cells.items() if variants[key] == chosen[cell.city, cell.model])


def _holes(cells: list[Cell]) -> int:
    """How many cells the full grid of these cities, models and seeds has beyond them."""
    cities, models, seeds = ({getattr(cell, axis) for cell in cells} for axis in ("city", "model", "seed"))
    return len(cities) * len(models) * len(seeds) - len({(cell.city, cell.model, cell.seed) for cell in cells})
