from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_tables import encoded, rows, write_tables

from bench.core.errors import UserError
from bench.data.encoded import ArrayFile, EncodedCity


@pytest.mark.parametrize("damage", ["missing", "truncated", "other shape", "other type"])
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: str) -> None:
    city = encoded(write_tables(tmp_path / "tables", exposures=rows("user item", (1, 5), (2, 6))))
    path = city.folder / "ids.npy"
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-4])
    else:
        np.save(
            path, np.zeros((2, 2 if damage == "other type" else 3), "int32" if damage == "other shape" else "int64")
        )
    with pytest.raises(UserError, match=r"ids.npy .*; delete it and run again"):
        EncodedCity.load(city.folder)


@pytest.mark.parametrize("text", [None, "", "{}", '{"version": 1}', '{"version": 2}', "[1]"])
def test_a_damaged_meta_is_refused(tmp_path: Path, text: str | None) -> None:
    city = encoded(write_tables(tmp_path / "tables", exposures=rows("user item", (1, 5))))
    path = city.folder / "meta.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UserError, match=r"meta\.json"):
        EncodedCity.load(city.folder)


def test_verify_finds_changed_bytes(tmp_path: Path) -> None:
    city = encoded(write_tables(tmp_path / "tables", exposures=rows("user item", (1, 5), (2, 6))))
    assert city.verify() == []
    path = city.folder / "labels.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    problems = EncodedCity.load(city.folder).verify()
    assert len(problems) == 1
    assert "labels.npy" in problems[0]


def test_the_meta_is_plain_json(tmp_path: Path) -> None:
    city = encoded(write_tables(tmp_path / "tables", exposures=rows("user item", (1, 5))))
    meta = json.loads((city.folder / "meta.json").read_text())
    assert meta["dataset"] == "tiny"
    assert set(meta["checksums"]) == {path.name for path in city.folder.glob("*.npy")}


def test_an_older_version_is_named(tmp_path: Path) -> None:
    city = encoded(write_tables(tmp_path / "tables", exposures=rows("user item", (1, 5))))
    path = city.folder / "meta.json"
    path.write_text(path.read_text().replace('"version": 3', '"version": 2'))
    with pytest.raises(UserError, match=r"meta.json has version 2 in place of 3; delete it and run again"):
        EncodedCity.load(city.folder)


def test_an_array_in_parts_has_the_bytes_of_the_whole(tmp_path: Path) -> None:
    whole = np.arange(70, dtype=np.int32).reshape(10, 7)
    np.save(tmp_path / "whole.npy", whole)
    with ArrayFile(tmp_path, "ids", (10, 7)) as file:
        for part in (
            whole[:3],
            whole[3:3],
            whole[3:].astype(np.int64),
        ):
            file.append(part)
    assert (tmp_path / "ids.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
