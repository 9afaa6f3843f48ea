"""Cities that are made by shards of their users: the same bytes, nothing left over, nothing made twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.data.source import Source, SourceOptions
from bench.runner import worker
from bench.runner.layout import Layout
from bench.runner.pool import Finished, Pool
from bench.runner.prepare import encoded_folder, make_shard, missing_shards, open_source
from bench.runner.run import prepare

CITY = "6"


class InlinePool:
    """Runs tasks in this process and keeps which; those in ``deadly`` have killed theirs."""

    jobs = 1

    def __init__(self, *deadly: tuple[str, int]) -> None:
        self.deadly, self.ran = deadly, list[Any]()

    def run(self, function: Any, tasks: Sequence[Any], arguments: Any) -> Iterator[Finished[Any]]:
        for task in tasks:
            self.ran.append((function, task))
            killed = task in self.deadly
            yield Finished(task, None if killed else function(*arguments(task)), None, killed=killed)


@pytest.fixture(scope="module")
def sharded() -> Source:
    return open_source("six_cities", SourceOptions(scale=0.0001, knobs={"block_users": 3}))


@pytest.fixture(scope="module")
def at_once(sharded: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with the data as one process makes them."""
    out = tmp_path_factory.mktemp("at_once")
    encoded_folder(Layout(out), sharded, CITY)
    return out


def contents(out: Path) -> dict[str, bytes]:
    """All files by path, without what says when or where."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_several_processes_make_the_same_data(sharded: Source, at_once: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    pool = Pool(2, lambda progress: None)
    try:
        found = prepare(tmp_path, [(sharded, CITY)], pool, lambda done, total: told.append((done, total)))
    finally:
        pool.close()
    assert not found.errors
    assert contents(tmp_path) == contents(at_once)
    assert not any(Layout(tmp_path).shards.iterdir())
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]  # two shards, and the city


def test_a_shard_that_was_made_is_not_made_again(sharded: Source, at_once: Path, tmp_path: Path) -> None:
    layout, key = Layout(tmp_path), sharded.fingerprint(CITY)
    found = prepare(tmp_path, [(sharded, CITY)], InlinePool((key, 1)))  # type: ignore[arg-type]
    assert str(found.errors[key]).startswith(f"the process that prepared {sharded.label} city 6 was killed")
    assert not layout.tables.exists()
    assert missing_shards(layout, sharded, CITY) == [1]

    pool = InlinePool()
    assert not prepare(tmp_path, [(sharded, CITY)], pool).errors  # type: ignore[arg-type]
    assert pool.ran == [(worker.prepare_shard, (key, 1)), (worker.prepare_city, key)]
    assert contents(tmp_path) == contents(at_once)

    pool = InlinePool()
    assert not prepare(tmp_path, [(sharded, CITY)], pool).errors  # type: ignore[arg-type]
    assert pool.ran == []


def test_what_a_killed_process_left_is_removed(sharded: Source, at_once: Path, tmp_path: Path) -> None:
    """It was killed when the tables were there and their shards not yet gone."""
    out = tmp_path / "out"
    shutil.copytree(at_once, out)
    (Layout(out).shards / sharded.fingerprint(CITY) / "0").mkdir(parents=True)
    prepare(out, [(sharded, CITY)], InlinePool())  # type: ignore[arg-type]
    assert contents(out) == contents(at_once)
    assert not any(Layout(out).shards.iterdir())


@pytest.mark.parametrize("published", [True, False])
def test_another_process_may_be_faster(
    sharded: Source, at_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    """It publishes the tables and removes the shards that this one is about to join."""
    layout = Layout(tmp_path)
    for shard in range(sharded.shards(CITY)):
        make_shard(layout, sharded, CITY, shard)

    def join(city: str, shards: Sequence[Path], folder: Path) -> None:
        if published:
            shutil.copytree(Layout(at_once).tables, layout.tables, dirs_exist_ok=True)
        raise FileNotFoundError(shards[0])

    monkeypatch.setattr(sharded, "join", join)
    if published:
        encoded_folder(layout, sharded, CITY)
        assert contents(tmp_path) == contents(at_once)
    else:
        with pytest.raises(FileNotFoundError):
            encoded_folder(layout, sharded, CITY)


@pytest.mark.parametrize("published", [True, False])
def test_another_process_may_need_no_shard_any_more(
    sharded: Source, at_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    """It publishes the tables and removes all shards while this one makes a shard."""
    layout = Layout(tmp_path)

    def write_shard(city: str, shard: int, folder: Path) -> None:
        if published:
            shutil.copytree(Layout(at_once).tables, layout.tables)
        shutil.rmtree(layout.shards)

    monkeypatch.setattr(sharded, "write_shard", write_shard)
    if published:
        make_shard(layout, sharded, CITY, 1)
        assert missing_shards(layout, sharded, CITY) == []
    else:
        with pytest.raises(FileNotFoundError):
            make_shard(layout, sharded, CITY, 1)


def test_a_shard_that_cannot_be_made_is_told(sharded: Source, tmp_path: Path) -> None:
    class Refusing(InlinePool):
        def run(self, function: Any, tasks: Sequence[Any], arguments: Any) -> Iterator[Finished[Any]]:
            return (Finished(task, None, UserError("no space left")) for task in tasks)

    found = prepare(tmp_path, [(sharded, CITY)], Refusing())  # type: ignore[arg-type]
    assert [str(error) for error in found.errors.values()] == ["no space left"]
    assert not found.folders
