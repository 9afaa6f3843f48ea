from __future__ import annotations

import errno
import filecmp
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tiny_tables import ITEM, USER, encoded, rows, write_tables

from bench.core.errors import UserError
from bench.data import histories
from bench.data.encoded import LABEL_COLUMNS, ArrayFile
from bench.data.encoding import EncodingSettings, encode, encoding_key
from bench.data.tables import ACTIONS, COLUMNS, DOMAINS, TRUTH, Feature, read_manifest, table_path


def random_tables(folder: Path, seed: int = 0) -> Path:
    """Visits of up to 5 rows, all kinds of features, events inside and outside of visits."""
    rng = np.random.default_rng(seed)
    visits, users, items = 60, 8, 12
    lengths = rng.integers(1, 6, visits)
    visit = np.repeat(np.arange(visits), lengths)
    n = len(visit)
    owner = rng.integers(0, users, visits)
    start = np.sort(rng.integers(0, 5000, visits))
    start_split = np.where(np.arange(visits) < 40, "train", np.where(np.arange(visits) < 48, "valid", "test"))
    click = rng.integers(0, 2, n)
    shuffled = rng.permutation(n)
    exposures = {
        "exposure": rng.permutation(n),
        "user": owner[visit],
        "item": rng.integers(0, items, n),
        "visit": visit,
        "time": start[visit] + rng.integers(0, 3, n),
        "position": rng.integers(0, 3, n),
        "split": start_split[visit],
        "click": click,
        "cart": click * rng.integers(0, 2, n),
        "purchase": click * rng.integers(0, 2, n),
        "wish": np.zeros(n, dtype=int),
        "hour": rng.integers(0, 24, n),
        "score": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
    }
    m = 150
    event_visit = rng.integers(0, visits, m)
    events = {
        "user": owner[event_visit],
        "item": rng.integers(0, items + 3, m),
        "time": start[event_visit] + rng.integers(-2, 5, m),
        "visit": event_visit,
        "action": np.array(ACTIONS)[rng.integers(0, 4, m)],
        "domain": np.array(DOMAINS)[rng.integers(0, 2, m)],
    }
    truth = {"exposure": np.arange(n), **{column: rng.random(n) for column in TRUTH}}
    return write_tables(
        folder,
        features=(
            USER,
            Feature(name="age", table="users"),
            Feature(name="hour×age", table="cross", kind="cross", of=("hour", "age")),
            ITEM,
            Feature(name="price", table="items", kind="numeric"),
            Feature(name="hour", table="exposures"),
            Feature(name="score", table="exposures", kind="numeric"),
        ),
        exposures={name: column[shuffled].tolist() for name, column in exposures.items()},
        events={name: column.tolist() for name, column in events.items()},
        users={"user": np.arange(users), "age": [["young", "old", None][u % 3] for u in range(users)]},
        items={"item": np.arange(items), "price": rng.normal(size=items)},
        truth=truth,
    )


def test_rows_are_sorted_by_split_user_visit_position(tmp_path: Path) -> None:
    tables = write_tables(
        tmp_path / "tables",
        exposures=rows(
            "exposure user item visit time position split",
            (0, "b", 1, 10, 50, 1, "test"),
            (1, "b", 1, 11, 20, 1, "train"),
            (2, "b", 1, 11, 21, 0, "train"),
            (3, "a", 1, 12, 30, 0, "train"),
            (4, "b", 1, 13, 10, 0, "train"),
            (5, "b", 1, 10, 50, 1, "test"),
            (6, "a", 1, 14, 40, 0, "valid"),
        ),
    )
    city = encoded(tables)
    assert city.exposure.tolist() == [3, 4, 2, 1, 6, 0, 5]
    assert city.visit.tolist() == [0, 1, 2, 2, 3, 4, 4]
    assert city.user.tolist() == [0, 1, 1, 1, 0, 1, 1]
    assert city.visit_start.tolist() == [30, 10, 20, 40, 50]
    assert {split: city.exposure[city.rows(split)].tolist() for split in ("train", "valid", "test")} == {
        "train": [3, 4, 2, 1],
        "valid": [6],
        "test": [0, 5],
    }
    assert (city.meta.users, city.meta.visits, city.meta.events) == (2, 5, 0)
    assert not city.meta.has_truth
    assert city.truth is None


def test_slices_do_not_depend_on_how_many_events_are_looked_at_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = random_tables(tmp_path / "tables")
    whole = encoded(tables)
    monkeypatch.setattr(histories, "_EVENTS_AT_ONCE", 20)
    parts = encoded(tables.rename(tmp_path / "again"))
    assert whole.meta.checksums == parts.meta.checksums
    assert len(np.unique(whole.user)) > 3
    assert whole.meta.events > 4 * 20


def test_every_row_keeps_its_labels_truth_and_history(tmp_path: Path) -> None:
    tables = random_tables(tmp_path / "tables")
    city = encoded(tables)
    exposures = pa.parquet.read_table(table_path(tables, "exposures")).sort_by("exposure").to_pydict()
    truth = pa.parquet.read_table(table_path(tables, "truth")).to_pydict()
    events = pa.parquet.read_table(table_path(tables, "events")).to_pydict()
    assert sorted(city.exposure.tolist()) == exposures["exposure"]
    for row, exposure in enumerate(city.exposure):
        for column, label in enumerate(LABEL_COLUMNS[:4]):
            assert city.labels[row, column] == exposures[label][exposure]
        assert city.truth is not None
        assert city.truth[row].tolist() == [np.float32(truth[column][exposure]) for column in TRUTH]
        visit, user = exposures["visit"][exposure], exposures["user"][exposure]
        times = [t for t, v in zip(exposures["time"], exposures["visit"], strict=True) if v == visit]
        own = [t for t, v in zip(events["time"], events["visit"], strict=True) if v == visit]
        wanted = sorted(
            t for t, u in zip(events["time"], events["user"], strict=True) if u == user and t < min(times + own)
        )
        v = city.visit[row]
        assert city.visit_start[v] == min(times)
        assert city.event_time[city.history_start[v] : city.history_stop[v]].tolist() == wanted
    visits = [exposures["visit"][exposure] for exposure in city.exposure]
    assert sum(a != b for a, b in itertools.pairwise(visits)) == city.meta.visits - 1
    offsets = np.array([field.offset for field in city.meta.fields])
    sizes = np.array([field.size for field in city.meta.fields])
    assert ((city.ids >= offsets) & (city.ids < offsets + sizes)).all()
    assert (city.ids[city.rows("train"), 6] > offsets[6]).any()
    for split in ("train", "valid", "test"):
        counted = city.labels[city.rows(split)].sum(axis=0)[:4].tolist()
        assert list(city.meta.counts[split].values()) == [len(city.exposure[city.rows(split)]), *counted]


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    tables = random_tables(tmp_path / "tables")
    folders = [tmp_path / str(threads) for threads in (1, 2)]
    for threads, folder in zip((1, 2), folders, strict=True):
        folder.mkdir()
        encode(tables, folder, EncodingSettings(threads=threads, memory_limit="200MB"))
    names = sorted(path.name for path in folders[0].iterdir())
    assert "scratch" not in names
    assert filecmp.cmpfiles(*folders, names, shallow=False) == (names, [], [])


def test_a_log_without_carts_events_users_or_items(tmp_path: Path) -> None:
    city = encoded(write_tables(tmp_path / "tables", exposures=rows("user item click", (1, 5, 1), (2, 6, 0))))
    assert not city.meta.has_cart
    assert len(city.event_item) == len(city.event_kind) == len(city.event_time) == 0
    assert city.history_start.tolist() == city.history_stop.tolist() == [0, 0]
    assert city.verify() == []


def test_a_log_with_an_empty_event_table(tmp_path: Path) -> None:
    events = {
        name: pa.array([], pa.string() if name in ("action", "domain") else pa.int64()) for name in COLUMNS["events"]
    }
    city = encoded(
        write_tables(tmp_path / "tables", exposures=rows("user item cart click", (1, 5, 1, 1)), events=events)
    )
    assert city.meta.events == 0
    assert city.meta.has_cart


@pytest.mark.parametrize(
    ("exposures", "tables", "features", "message"),
    [
        ({"split": ["train", "later"]}, {}, (ITEM,), "must lie in the splits"),
        ({"visit": [0, 0]}, {}, (ITEM,), "a visit must lie in one split and have one user"),
        ({"visit": [0, None]}, {}, (ITEM,), "a visit must lie in one split and have one user"),
        ({"user": [None, 1], "visit": [0, 0]}, {}, (ITEM,), "a visit must lie in one split and have one user"),
        ({"user": [1, 1], "visit": [0, 0], "split": ["train", "test"]}, {}, (ITEM,), "a visit must lie in one split"),
        ({"exposure": [0, 2]}, {}, (ITEM,), "exposure must be 0 … 1 in 2 rows, but is 0 … 2"),
        ({"click": [1, None]}, {}, (ITEM,), "known labels/click in every row, but 1 rows"),
        ({}, {"users": {"user": [1, 1], "age": [3, 4]}}, (Feature(name="age", table="users"),), "one row per id"),
        ({}, {"events": {"user": [1]}}, (ITEM,), "events.parquet must have the columns .* lacks item"),
        ({}, {}, (Feature(name="age", table="users"),), "users.parquet must have the column 'age'"),
        ({}, {}, (ITEM, ITEM), "'item' must be listed once"),
        ({}, {}, (), "the feature list must have a feature"),
        ({}, {}, (ITEM, Feature(name="x", table="cross", kind="cross", of=("item", "y"))), "cross 'x' must be of"),
        (
            {},
            {"events": rows("user item time visit action domain", (1, 1, 1, 1, "view", "search"))},
            (ITEM,),
            "known action and domain in every row, but 1 rows",
        ),
        ({"position": ["a", "b"], "click": ["x", "y"]}, {}, (ITEM,), "must hold intact funnel tables"),
    ],
)
def test_broken_tables_are_refused(
    tmp_path: Path, exposures: dict, tables: dict, features: tuple[Feature, ...], message: str
) -> None:
    folder = write_tables(
        tmp_path / "tables", features, exposures={"user": [1, 2], "item": [1, 2]} | exposures, **tables
    )
    with pytest.raises(UserError, match=message):
        encoded(folder)
    assert not (tmp_path / "tables-encoded" / "scratch").exists()


def test_a_truncated_table_is_refused(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "tables", exposures=rows("user item", (1, 5)))
    path = table_path(folder, "exposures")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"must hold intact funnel tables, but.*exposures\.parquet.*delete it"):
        encoded(folder)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ArrayFile, "append", full)
    folder = write_tables(tmp_path / "tables", exposures=rows("user item", (1, 5)))
    with pytest.raises(UserError, match=r"must take the encoded arrays of .* but: No space left on device; free disk"):
        encoded(folder)
    assert not (tmp_path / "tables-encoded" / "scratch").exists()


@pytest.mark.parametrize(("threads", "most"), [(1, 1000), (2, 2000), (64, 2000)])
def test_memory_grows_with_the_threads_up_to_a_bound(threads: int, most: int) -> None:
    limit = EncodingSettings(threads=threads).memory()
    assert limit.endswith("MB")
    assert 0 < int(limit[:-2]) <= most
    assert EncodingSettings(threads=threads, memory_limit="7GB").memory() == "7GB"


def test_the_key_depends_on_tables_and_settings_but_not_on_resources(tmp_path: Path) -> None:
    manifest = read_manifest(write_tables(tmp_path / "tables", exposures=rows("user item", (1, 5))))
    key = encoding_key(manifest, EncodingSettings())
    assert key == encoding_key(manifest, EncodingSettings(threads=3, memory_limit="2GB"))
    others = [encoding_key(manifest, EncodingSettings(**change)) for change in ({"bins": 8}, {"window_days": 7})]
    others.append(encoding_key(manifest.model_copy(update={"fingerprint": "g"}), EncodingSettings()))
    assert len({key, *others}) == 4
