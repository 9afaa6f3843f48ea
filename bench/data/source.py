"""What a dataset offers: cities, a fingerprint for each, and funnel tables on request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from bench.core.errors import UserError, unknown


class SourceOptions(BaseModel):
    """What the user may say about a dataset. A source ignores what does not concern it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: float | None = Field(None, gt=0.0, le=1.0, description="share of the published size; none: the default's")
    seed: int = Field(0, ge=0, description="seed of the simulation; the same for all models")
    knobs: dict[str, Any] = Field({}, description="knobs of the simulation that differ from the defaults")
    data_dir: Path | None = Field(None, description="where the raw files of a log lie")


class Source(ABC):
    """One dataset. The file name under ``bench/data/sources`` is its ``name``."""

    name: ClassVar[str]
    summary: ClassVar[str]
    #: Whether it is a simulation, with a scale and knobs.
    simulated: ClassVar[bool] = False
    #: Share of the published size where none is asked for (simulated only).
    default_scale: ClassVar[float] = 1.0
    #: What it cannot supply (of :data:`~bench.data.tables.FACTS`), and why: the manifest's ``lacks``.
    lacks: ClassVar[Mapping[str, str]] = {}
    #: The protocol under which its paper compares models.
    preset: ClassVar[str] = "esmc"

    def __init__(self, options: SourceOptions) -> None:
        """
        Raises:
            UserError: there are knobs, but it is a log; or a knob is unknown or out of range.
        """
        if options.knobs and not self.simulated:
            raise UserError(
                f"only a simulated dataset has knobs, but {self.name} is a log; leave out {', '.join(options.knobs)}."
            )
        self.options = options

    def varied(self, knobs: Mapping[str, Any], size: float = 1.0) -> Source:
        """This dataset with other knobs of the simulation and ``size`` times its scale."""
        scale = self.options.scale if size == 1.0 else min(1.0, float(f"{self.scale * size:.6g}"))
        return type(self)(self.options.model_copy(update={"knobs": {**self.options.knobs, **knobs}, "scale": scale}))

    @property
    def scale(self) -> float:
        """Share of the published size."""
        return self.default_scale if self.options.scale is None else self.options.scale

    @property
    def label(self) -> str:
        """Name of dataset and variant, as cells and reports print it, e.g. ``six_cities-0.01``."""
        return self.name

    @abstractmethod
    def cities(self) -> list[str]:
        """Names of the cities (worlds, shops, countries) that are trained separately."""

    def lacks_of(self, city: str) -> Mapping[str, str]:
        """What the log of a city cannot supply, and why, as far as it is known before it is read."""
        return self.lacks

    @abstractmethod
    def fingerprint(self, city: str) -> str:
        """A hash of everything that decides the city's funnel tables, without making them.

        Raises:
            UserError: the city is unknown, or raw files are missing.
        """

    @abstractmethod
    def write(self, city: str, folder: Path) -> None:
        """Write the city's funnel tables and manifest into the existing empty ``folder``.

        Raises:
            UserError: the city is unknown, or raw files are missing or damaged.
        """

    def shards(self, city: str) -> int:
        """How many shards of its users can be made apart, by several processes; 1 of a city that is made at once."""
        return 1

    def write_shard(self, city: str, shard: int, folder: Path) -> None:
        """Write shard ``shard`` of several into the existing empty ``folder``, for :meth:`join`."""
        raise NotImplementedError

    def join(self, city: str, shards: Sequence[Path], folder: Path) -> None:
        """As :meth:`write`, from the folders of all shards; the bytes are the same.

        Raises:
            FileNotFoundError: a shard is gone.
        """
        raise NotImplementedError

    def require(self, city: str) -> str:
        """``city`` if this dataset has it.

        Raises:
            UserError: it has not.
        """
        if city not in self.cities():
            raise unknown("city", city, self.cities())
        return city
