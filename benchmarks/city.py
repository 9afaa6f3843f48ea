"""The city that several measurements train on: City 1, simulated and encoded."""

from __future__ import annotations

from pathlib import Path

from bench.data.encoded import EncodedCity
from bench.data.encoding import EncodingSettings, encode
from bench.data.source import SourceOptions
from bench.data.sources.six_cities import SixCities

CITY = "1"


def make_city(folder: Path, scale: float, threads: int) -> EncodedCity:
    """City 1 at this scale, with its arrays in ``folder``, which is made."""
    with_tables = folder / "tables"
    with_tables.mkdir(parents=True)
    SixCities(SourceOptions(scale=scale)).write(CITY, with_tables)
    encode(with_tables, folder, EncodingSettings(threads=threads))
    return EncodedCity.load(folder)
