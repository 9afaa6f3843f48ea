"""The simulated shop written and read back, for the tests of its tables and of its behaviour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from six_cities_tables import Tables, read

from bench.data.ecommerce.settings import PUBLISHED, Settings
from bench.data.ecommerce.shop import Shop
from bench.data.simulation.settings import scaled
from bench.data.source import SourceOptions
from bench.data.sources.ecommerce import Ecommerce


def make(folder: Path, scale: float = 0.0003, seed: int = 0, **knobs: Any) -> Tables:
    folder.mkdir(parents=True)
    Ecommerce(SourceOptions(scale=scale, seed=seed, knobs=knobs)).write("shop", folder)
    return read(folder)


def shop(scale: float = 0.0003, seed: int = 0, **knobs: Any) -> Shop:
    return Shop(Settings(**knobs), scaled(PUBLISHED.size, scale), seed)
