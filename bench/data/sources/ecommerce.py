"""The shop of the ESM² paper, simulated: its data set was not published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.core.cell import digest
from bench.core.seeding import derive
from bench.data.ecommerce.behaviour import Intercepts
from bench.data.ecommerce.dense import told
from bench.data.ecommerce.settings import GENERATOR_VERSION, PUBLISHED, START, Settings
from bench.data.ecommerce.shop import Shop, solve
from bench.data.ecommerce.write import features, made, write_tables
from bench.data.simulation.settings import City, changed, scaled, settings_of
from bench.data.simulation.shards import Made, blocks_of, read_shards, shards_of, write_shard
from bench.data.simulation.visits import quota
from bench.data.simulation.write import splits
from bench.data.source import Source, SourceOptions
from bench.data.tables import TABLES_VERSION, Manifest, write_manifest


class Ecommerce(Source):
    """The city "shop" at the size and the rates of ESM² Table 1 times ``scale``.

    ``events`` begin with the warm-up, before the manifest's ``time_range``; the other tables lie within it.
    """

    name: ClassVar[str] = "ecommerce"
    summary: ClassVar[str] = "ESM²'s shop, simulated at the size and the rates of its Table 1 times --scale"

    simulated: ClassVar[bool] = True
    default_scale: ClassVar[float] = 1 / 300
    preset: ClassVar[str] = "esm2"

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        self.settings = settings_of(options.knobs, Settings)

    @property
    def label(self) -> str:
        """``ecommerce``, with what differs from the defaults, e.g. ``ecommerce-x0.01-s3-oaction_share0.5``."""
        parts = [self.name]
        if self.scale != self.default_scale:
            parts.append(f"x{self.scale:g}")
        if self.options.seed != SourceOptions().seed:
            parts.append(f"s{self.options.seed}")
        return "-".join(parts + [f"{knob}{value}" for knob, value in changed(self.settings).items()])

    def cities(self) -> list[str]:
        return ["shop"]

    def fingerprint(self, city: str) -> str:
        return digest({"dataset": self.name, "tables": TABLES_VERSION, "city": city, **self._origin(city)})

    def write(self, city: str, folder: Path) -> None:
        shop = self._shop(city)
        intercepts = solve(shop, PUBLISHED)
        self._write(city, shop, intercepts, made(shop, intercepts, range(len(shop))), folder)

    def shards(self, city: str) -> int:
        return shards_of(len(quota(self.settings, self._size(city)).users))

    def write_shard(self, city: str, shard: int, folder: Path) -> None:
        shop = self._shop(city)
        write_shard(made(shop, solve(shop, PUBLISHED), blocks_of(shard, len(shop))), folder)

    def join(self, city: str, shards: Sequence[Path], folder: Path) -> None:
        shop = self._shop(city)
        self._write(city, shop, solve(shop, PUBLISHED), read_shards(shards), folder)

    def _write(self, city: str, shop: Shop, intercepts: Intercepts, blocks: Iterable[Made], folder: Path) -> None:
        counts = write_tables(shop, blocks, folder)
        ranges = splits(self.settings, START)
        manifest = Manifest(
            dataset=self.label,
            city=city,
            fingerprint=self.fingerprint(city),
            origin="simulated",
            features=features(shop),
            counts=counts,
            time_range=(min(first for first, _ in ranges.values()), max(last for _, last in ranges.values())),
            split_range=ranges,
            settings={
                **self._origin(city),
                "solved": intercepts._asdict(),
                "achieved": _achieved(counts),
                "informative": told([*shop.user_columns, *shop.item_columns]),
            },
        )
        write_manifest(folder, manifest)

    def _size(self, city: str) -> City:
        self.require(city)
        return scaled(PUBLISHED.size, self.scale)

    def _shop(self, city: str) -> Shop:
        return Shop(self.settings, self._size(city), derive(self.options.seed, self.name, city))

    def _origin(self, city: str) -> dict[str, Any]:
        """Everything that decides a city's tables."""
        self.require(city)
        return {
            "generator": GENERATOR_VERSION,
            "scale": self.scale,
            "seed": self.options.seed,
            "published": PUBLISHED._asdict(),
            "knobs": self.settings.model_dump(mode="json"),
        }


def _achieved(counts: dict[str, int]) -> dict[str, float]:
    """The rates that the simulation aims at, as they came out; 0 where there was nothing to take them of."""
    clicks, purchases = max(1, counts["clicks"]), max(1, counts["purchases"])
    return {
        "click": counts["clicks"] / counts["exposures"],
        **{name: counts[f"{name}s"] / clicks for name in ("cart", "action", "purchase", "browse", "repeated_click")},
        "wish": counts["wishes"] / clicks,
        "oaction_share": counts["oaction_purchases"] / purchases,
    }
