"""The six cities of the ESMC paper, simulated: the real logs were not published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.core.cell import digest
from bench.core.seeding import derive
from bench.data.simulation.behaviour import Intercepts
from bench.data.simulation.blocks import Simulation
from bench.data.simulation.settings import GENERATOR_VERSION, PUBLISHED, City, Settings, changed, scaled, settings_of
from bench.data.simulation.shards import Made, blocks_of, read_shards, shards_of, write_shard
from bench.data.simulation.solve import solve
from bench.data.simulation.visits import quota
from bench.data.simulation.write import FEATURES, made, splits, write_tables
from bench.data.source import Source, SourceOptions
from bench.data.tables import TABLES_VERSION, Manifest, write_manifest


class SixCities(Source):
    """Cities "1" to "6" at the size and sparsity of ESMC Table III times ``scale``.

    ``events`` begin with the warm-up, before the manifest's ``time_range``; the other tables lie within it.
    """

    name: ClassVar[str] = "six_cities"
    summary: ClassVar[str] = "ESMC's six cities, simulated at the size and sparsity of its Table III times --scale"

    simulated: ClassVar[bool] = True
    default_scale: ClassVar[float] = 0.001

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        self.settings = settings_of(options.knobs, Settings)

    @property
    def label(self) -> str:
        """``six_cities``, with what differs from the defaults, e.g. ``six_cities-x0.01-s3-bad_case_share0.4``."""
        default = SourceOptions()
        parts = [self.name]
        if self.scale != self.default_scale:
            parts.append(f"x{self.scale:g}")
        if self.options.seed != default.seed:
            parts.append(f"s{self.options.seed}")
        return "-".join(parts + [f"{knob}{value}" for knob, value in changed(self.settings).items()])

    def cities(self) -> list[str]:
        return list(PUBLISHED)

    def fingerprint(self, city: str) -> str:
        return digest({"dataset": self.name, "tables": TABLES_VERSION, "city": city, **self._origin(city)})

    def write(self, city: str, folder: Path) -> None:
        simulation = self._simulation(city)
        intercepts = solve(simulation)
        self._write(city, simulation, intercepts, made(simulation, intercepts, range(len(simulation))), folder)

    def shards(self, city: str) -> int:
        return shards_of(len(quota(self.settings, self._size(city)).users))

    def write_shard(self, city: str, shard: int, folder: Path) -> None:
        simulation = self._simulation(city)
        write_shard(made(simulation, solve(simulation), blocks_of(shard, len(simulation))), folder)

    def join(self, city: str, shards: Sequence[Path], folder: Path) -> None:
        simulation = self._simulation(city)
        self._write(city, simulation, solve(simulation), read_shards(shards), folder)

    def _write(
        self, city: str, simulation: Simulation, intercepts: Intercepts, blocks: Iterable[Made], folder: Path
    ) -> None:
        counts = write_tables(simulation, blocks, folder)
        ranges = splits(self.settings)
        manifest = Manifest(
            dataset=self.label,
            city=city,
            fingerprint=self.fingerprint(city),
            origin="simulated",
            features=FEATURES,
            counts=counts,
            time_range=(min(first for first, _ in ranges.values()), max(last for _, last in ranges.values())),
            split_range=ranges,
            settings={**self._origin(city), "solved": intercepts._asdict(), "achieved": _achieved(counts)},
        )
        write_manifest(folder, manifest)

    def _size(self, city: str) -> City:
        return scaled(PUBLISHED[self.require(city)], self.scale)

    def _simulation(self, city: str) -> Simulation:
        return Simulation(self.settings, self._size(city), derive(self.options.seed, self.name, city))

    def _origin(self, city: str) -> dict[str, Any]:
        """Everything that decides a city's tables."""
        return {
            "generator": GENERATOR_VERSION,
            "scale": self.scale,
            "seed": self.options.seed,
            "published": PUBLISHED[self.require(city)]._asdict(),
            "knobs": self.settings.model_dump(mode="json"),
        }


def _achieved(counts: dict[str, int]) -> dict[str, float]:
    """The rates that the simulation aims at, as they came out; 0 where there was nothing to take them of."""
    good = counts["purchases"] - counts["bad_case_purchases"]
    carts = counts["carts"] + counts["search_carts"]
    return {
        "click": counts["clicks"] / counts["exposures"],
        "purchase": counts["purchases"] / counts["exposures"],
        "same_visit_conversion": good / max(1, counts["carts"]),
        "bad_case_share": counts["bad_case_purchases"] / max(1, counts["purchases"]),
        "search_cart_share": counts["search_carts"] / max(1, carts),
    }
