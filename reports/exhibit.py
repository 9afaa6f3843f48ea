"""The base of every exhibit: one file under ``reports/exhibits`` = one table or figure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import pandas as pd

from reports.study import Study


@dataclass(frozen=True, eq=False)
class World:
    """A simulated world beside the one that was asked for: other knobs, and a factor on its scale."""

    knobs: Mapping[str, Any] = field(default_factory=dict)
    size: float = 1.0


#: The world that was asked for.
HERE = World()

#: The dataset that stands for a paper's, by the paper's name; its protocol is the preset of that name.
DATASETS = {"esmc": "six_cities", "esm2": "ecommerce"}


class Demand(NamedTuple):
    """Cells that an exhibit is made of: every model with each of the ``changes`` of the preset, on every city
    (None: all) of every world. Knobs that a model does not use do not count as a change of it."""

    models: tuple[str, ...]
    changes: tuple[Mapping[str, Any], ...] = ({},)
    cities: tuple[str, ...] | None = None
    worlds: tuple[World, ...] = (HERE,)


class Exhibit(ABC):
    """A table or figure made from stored cells. The file name is its ``name``; ``order`` is its place."""

    name: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[str]
    order: ClassVar[int]
    #: The paper that ``bench run --exhibit all-PAPER`` reproduces with it, on its dataset under its preset.
    paper: ClassVar[str | None] = None
    #: The cells that ``bench run --exhibit NAME`` trains; without any it shows whatever is stored.
    demands: ClassVar[tuple[Demand, ...]] = ()
    #: Built for every study, or once per report with the first one.
    scope: ClassVar[Literal["study", "report"]] = "study"

    @abstractmethod
    def build(self, study: Study, folder: Path) -> str:
        """The Markdown below the heading; pictures and CSV go into ``folder``.

        It must work with whatever is stored.
        """

    @classmethod
    def applies(cls, study: Study) -> bool:
        """Whether it has anything to say of a study: one of a paper speaks of that paper's protocol only."""
        return cls.paper is None or cls.paper == study.preset

    @classmethod
    def trains(cls) -> str:
        """What ``bench run --exhibit NAME`` trains, in a few words; "-" for nothing."""
        models = {model for demand in cls.demands for model in demand.models}
        variants = {(m, *sorted(c.items())) for d in cls.demands for m in d.models for c in d.changes}
        worlds = {world for demand in cls.demands for world in demand.worlds} - {HERE}
        if not models:
            return "-"
        text = f"{len(models)} {'model' if len(models) == 1 else 'models'}"
        text += f" in {len(variants)} configurations" if len(variants) > len(models) else ""
        return text + (f", {len(worlds)} more worlds" if worlds else "")

    def write_csv(self, frame: pd.DataFrame, folder: Path) -> None:
        """Write ``<name>.csv``; a later study of the same report adds its rows."""
        path = folder / f"{self.name}.csv"
        frame.to_csv(path, mode="a", header=not path.exists(), index=False)

    def picture_path(self, study: Study, folder: Path, part: str = "") -> Path:
        """Where a picture goes; ``part`` tells several of one study apart."""
        return folder / f"{self.name}-{part + '-' if part else ''}{study.slug}.png"
