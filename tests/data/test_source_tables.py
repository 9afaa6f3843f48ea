"""Funnel tables of one's own as a dataset: linked, not copied, under their folder's name."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_tables import rows, write_tables

from bench.core.errors import UserError
from bench.data.checks import check_tables
from bench.data.source import SourceOptions
from bench.data.sources.tables import Tables
from bench.data.tables import MANIFEST, read_manifest

EXPOSURES = rows("user item click", (1, 7, 1), (2, 8, 0), (2, 7, 1))


def tables(folder: Path | None) -> Tables:
    return Tables(SourceOptions(data_dir=folder))


def test_one_folder(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "mine", exposures=EXPOSURES)
    source = tables(folder)
    assert (source.label, source.cities()) == ("mine", ["1"])
    (tmp_path / "new").mkdir()
    source.write("1", tmp_path / "new")
    assert (tmp_path / "new/exposures.parquet").samefile(folder / "exposures.parquet")
    manifest = read_manifest(tmp_path / "new")
    assert (manifest.dataset, manifest.fingerprint) == ("mine", source.fingerprint("1"))
    assert check_tables(tmp_path / "new") == []


def test_links_to_tables_are_followed(tmp_path: Path) -> None:
    """A relative link is good in its own folder only."""
    folder = write_tables(tmp_path / "mine", exposures=EXPOSURES)
    (tmp_path / "links").mkdir()
    for path in folder.iterdir():
        (tmp_path / "links" / path.name).symlink_to(Path("../mine") / path.name)
    (tmp_path / "far/away").mkdir(parents=True)
    tables(tmp_path / "links").write("1", tmp_path / "far/away")
    assert check_tables(tmp_path / "far/away") == []


def test_folders_are_cities_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("a", "b", ".staging-1-x"):
        folder = write_tables(tmp_path / "all" / name, exposures=EXPOSURES)
        manifest = read_manifest(folder)
        (folder / MANIFEST).write_text(
            manifest.model_copy(update={"city": name, "lacks": {"wish": name}}).model_dump_json()
        )
    source = tables(tmp_path / "all")
    assert source.cities() == ["a", "b"]
    assert source.lacks_of("b") == {"wish": "b"}
    (tmp_path / "all/a/manifest.json").write_text((tmp_path / "all/b/manifest.json").read_text())
    with pytest.raises(UserError, match="'b' is there twice"):
        source.cities()


def test_other_bytes_are_another_fingerprint(tmp_path: Path) -> None:
    first = tables(write_tables(tmp_path / "mine", exposures=EXPOSURES)).fingerprint("1")
    assert tables(write_tables(tmp_path / "mine", exposures=EXPOSURES)).fingerprint("1") == first
    changed = EXPOSURES | {"click": [0, 0, 1]}
    assert tables(write_tables(tmp_path / "mine", exposures=changed)).fingerprint("1") != first


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give it with --data-dir"):
        tables(None).cities()
    with pytest.raises(UserError, match="must hold funnel tables"):
        tables(tmp_path).cities()
    folder = write_tables(tmp_path / "mine", exposures=EXPOSURES)
    (tmp_path / "new").mkdir()
    (folder / "exposures.parquet").write_bytes(b"other")
    with pytest.raises(UserError, match="a checksum differs"):
        tables(folder).write("1", tmp_path / "new")
    (folder / "exposures.parquet").unlink()
    with pytest.raises(UserError, match=r"exposures.parquet .* is missing"):
        tables(folder).write("1", tmp_path / "new")
