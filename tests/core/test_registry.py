"""One file = one entry; a file that cannot be used never vanishes."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.core.registry import EXHIBITS, MODELS, SOURCES, Registry

ENTRY = "class Thing:\n    name = {!r}\n"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry[type]]:
    for package, files in {
        "first_things": {
            "good": ENTRY.format("good"),
            "broken": "this is no Python",
            "nameless": ENTRY.format("another"),
            "_helper": "raise RuntimeError('helpers are not imported')",
        },
        "second_things": {"other": "from first_things.good import Thing as Base\n" + ENTRY.format("other")},
    }.items():
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        for name, text in files.items():
            (tmp_path / package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield Registry("thing", ("first_things", "second_things"))
    for module in [name for name in sys.modules if name.startswith(("first_things", "second_things"))]:
        del sys.modules[module]


def test_every_file_has_a_name_without_being_imported(registry: Registry[type]) -> None:
    assert registry.names() == ["broken", "good", "nameless", "other"]
    assert "first_things.good" not in sys.modules


def test_entries_are_found_and_broken_files_kept_with_their_error(registry: Registry[type]) -> None:
    assert {name: entry.__module__ for name, entry in registry.all().items()} == {
        "good": "first_things.good",
        "other": "second_things.other",
    }
    assert sorted(registry.broken) == ["broken", "nameless"]
    assert registry.broken["broken"].strip().splitlines()[-1].startswith("SyntaxError")
    assert "no object whose name is 'nameless'" in registry.broken["nameless"]


def test_one_entry_is_had_while_others_are_broken(registry: Registry[type]) -> None:
    assert registry.get("good").__module__ == "first_things.good"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("goood", "unknown thing 'goood'. Did you mean 'good'"),
        ("broken", "the thing 'broken' cannot be imported: SyntaxError.*run `bench check`"),
        ("nameless", "the thing 'nameless' cannot be imported"),
        ("_helper", "unknown thing '_helper'"),
    ],
)
def test_what_cannot_be_had_is_a_users_error(registry: Registry[type], name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.get(name)


@pytest.mark.parametrize("registry_of_bench", [MODELS, SOURCES, EXHIBITS], ids=lambda each: each.kind)
def test_every_file_of_the_scanned_folders_is_an_entry(registry_of_bench: Registry[type]) -> None:
    fresh = Registry[type](registry_of_bench.kind, registry_of_bench.packages)
    found = fresh.all()
    assert fresh.broken == {}
    assert sorted(found) == fresh.names() != []


def test_a_file_from_outside_is_an_entry_like_any_other(registry: Registry[type], tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from first_things.good import Thing as Base\n" + ENTRY.format("mine"))
    assert registry.add_file(path) == "mine"
    assert registry.names() == ["broken", "good", "mine", "nameless", "other"]
    entry = registry.get("mine")
    assert registry.all()["mine"] is entry
    assert (entry.__name__, sys.modules[entry.__module__].__file__) == ("Thing", str(path))
    assert registry.code("mine") == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert registry.outside("mine") == (path, registry.code("mine"), entry)
    assert (registry.code("good"), registry.outside("good")) == ("", None)
    assert not (tmp_path / "__pycache__").exists()
    registry.add_file(path, registry.code("mine"))
    assert registry.get("mine") is entry  # what has not changed does not run again


def test_an_edited_file_takes_the_place_of_what_it_was(registry: Registry[type], tmp_path: Path) -> None:
    """Also where neither its size nor its time tells the two apart, as Python's own cache has it."""
    path = tmp_path / "mine.py"
    found = []
    for value in (1, 2):
        path.write_text(f"{ENTRY.format('mine')}    value = {value}\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))
        registry.add_file(path)
        found.append((registry.code("mine"), registry.get("mine").value))  # type: ignore[attr-defined]
    assert [value for _, value in found] == [1, 2]
    assert found[0][0] != found[1][0]
    with pytest.raises(UserError, match=r"mine.py must stay as it was when the run began, but was edited; run again."):
        registry.add_file(path, code=found[0][0])
    assert registry.code("mine") == found[1][0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mine.py", None, "a thing file must be readable, but .*mine.py is not: No such file or directory; check"),
        ("my-thing.py", "", r"a thing file must be called as in Python, such as my_thing.py, but got .*my-thing.py"),
        ("class.py", "", "must be called as in Python"),
        ("mine.txt", ENTRY.format("mine"), "must be called as in Python"),
        ("good.py", ENTRY.format("good"), "must have a name of its own, but .*good.py is called as the built-in"),
        ("mine.py", "\n\nclass Mine(:\n", "mine.py line 3 cannot be imported: SyntaxError: invalid syntax; mend it"),
        ("mine.py", "def f():\n    return 1 / 0\n\nf()\n", "mine.py line 2 cannot be imported: ZeroDivisionError"),
        ("mine.py", "\nimport sys\nsys.exit(3)\n", "mine.py line 3 cannot be imported: SystemExit: 3"),
        ("mine.py", "import no_such\n", "line 1 cannot be imported: ModuleNotFoundError: No module named 'no_such'"),
        ("mine.py", "a = '\0'\n", "mine.py.* cannot be imported: .*null bytes"),
        ("mine.py", "", "mine.py must have a thing whose name is 'mine', but has none; set name = 'mine'"),
        (
            "mine.py",
            "from first_things.good import Thing as Base\n" + ENTRY.format("yours"),
            "must have a thing whose name is 'mine', but has 'yours' only; set name = 'mine'",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_a_users_error(
    registry: Registry[type], tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    before = registry.names()
    with pytest.raises(UserError, match=message):
        registry.add_file(tmp_path / name)
    assert registry.names() == before


def test_two_files_of_one_name_are_refused(registry: Registry[type], tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for folder in (tmp_path, tmp_path / "below"):
        (folder / "mine.py").write_text(ENTRY.format("mine"))
    registry.add_file(tmp_path / "mine.py")
    registry.add_file(tmp_path / "below" / ".." / "mine.py")  # the same file
    with pytest.raises(UserError, match=r"thing files must have different names, but .* rename one"):
        registry.add_file(tmp_path / "below" / "mine.py")


def test_an_entry_with_a_fault_is_not_taken(registry: Registry[type], tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(ENTRY.format("mine"))
    with pytest.raises(UserError, match=r"the thing in .*mine.py must be blue; paint Thing\.$"):
        registry.add_file(path, fault=lambda entry: f"must be blue; paint {entry.__name__}")
    assert registry.outside("mine") is None
    assert registry.add_file(path, fault=lambda entry: None) == "mine"
