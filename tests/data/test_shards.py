"""Tables joined from shards of users, each of which could be made by another process, equal those made at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.registry import SOURCES
from bench.data.simulation.shards import BLOCKS, blocks_of, shards_of
from bench.data.source import Source, SourceOptions

#: Small blocks of users, so that a small world has more than one shard; some blocks have no events of some kind.
SHARDED = {
    "six_cities": ("6", SourceOptions(scale=0.0001, knobs={"block_users": 3})),
    "ecommerce": ("shop", SourceOptions(scale=0.0001, knobs={"block_users": 14})),
}


def source_of(name: str) -> tuple[Source, str]:
    city, options = SHARDED[name]
    return SOURCES.get(name)(options), city


def folders(parent: Path, count: int) -> list[Path]:
    made = [parent / str(index) for index in range(count)]
    for folder in made:
        folder.mkdir(parents=True)
    return made


@pytest.mark.parametrize("name", SHARDED)
def test_joined_shards_have_the_bytes_of_tables_made_at_once(name: str, tmp_path: Path) -> None:
    source, city = source_of(name)
    count = source.shards(city)
    assert count > 1
    whole, joined, *parts = folders(tmp_path, count + 2)
    source.write(city, whole)
    for shard in reversed(range(count)):
        source.write_shard(city, shard, parts[shard])
    source.join(city, parts, joined)
    names = sorted(path.name for path in whole.iterdir())
    assert len(names) == 6
    assert names == sorted(path.name for path in joined.iterdir())
    for name in names:
        assert (whole / name).read_bytes() == (joined / name).read_bytes(), name


def test_a_missing_shard_is_told(tmp_path: Path) -> None:
    source, city = source_of("six_cities")
    out, *parts = folders(tmp_path, source.shards(city) + 1)
    source.write_shard(city, 0, parts[0])
    with pytest.raises(FileNotFoundError):
        source.join(city, parts, out)


@pytest.mark.parametrize("name", ["six_cities", "ecommerce"])
def test_worlds_of_the_default_size_are_made_at_once(name: str) -> None:
    source = SOURCES.get(name)(SourceOptions())
    assert {source.shards(city) for city in source.cities()} == {1}


def test_a_large_city_has_several_shards() -> None:
    assert SOURCES.get("six_cities")(SourceOptions(scale=0.1)).shards("1") > 4


@pytest.mark.parametrize("blocks", [1, BLOCKS, BLOCKS + 1, 3 * BLOCKS - 1])
def test_every_block_is_in_one_shard(blocks: int) -> None:
    found = [block for shard in range(shards_of(blocks)) for block in blocks_of(shard, blocks)]
    assert found == list(range(blocks))
    assert all(blocks_of(shard, blocks) for shard in range(shards_of(blocks)))
