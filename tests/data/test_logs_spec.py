"""The specification of an import: each mistake is one line with the file's line, the key and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.data.logs.rules import Rules, Splits
from bench.data.logs.spec import Spec
from bench.data.logs.spec_file import read_spec

WHOLE = """\
name = "shop"
shape = "events"
files = ["a.csv"]
time_zone = "UTC"

[columns]
user = "u"
item = "i"
time = "t"
action = "a"

[actions]
view = ["view"]
purchase = [4]

[visits]
gap_minutes = 20

[splits]
valid_from = 2026-03-01
test_from = 2026-03-02

[[features]]
column = "brand"

[[features]]
column = "price"
kind = "numeric"

[items]
files = ["items.csv"]
key = "id"
features = [{ column = "colour", min_count = 3 }]
"""


def spec_of(path: Path, text: str) -> Spec:
    path.write_text(text, encoding="utf-8")
    return read_spec(path)


def test_a_whole_one(tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "a.toml", WHOLE)
    rules = spec.rules()
    assert (rules.visit, rules.gap_minutes, rules.time_zone, rules.attribution_hours) == ("gap", 20.0, "UTC", None)
    assert spec.actions is not None and spec.actions.meanings == {"view": "view", "4": "purchase"}
    found = [(f.name, f.table, f.kind, f.min_count) for f in spec.all_features()]
    assert found == [
        ("user", "exposures", "categorical", None),
        ("item", "exposures", "categorical", None),
        ("hour", "exposures", "categorical", None),
        ("weekday", "exposures", "categorical", None),
        ("brand", "exposures", "categorical", None),
        ("price", "exposures", "numeric", None),
        ("colour", "items", "categorical", 3),
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("gap_minutes = 20", "gap_minuts = 20", 17, "unknown key 'gap_minuts'. Did you mean 'gap_minutes'?"),
        ("gap_minutes = 20", "gap_minutes = -1", 17, "visits.gap_minutes: input should be greater than 0, but got -1"),
        ('shape = "events"', 'shape = "event"', 2, "input should be 'events' or 'exposures', but got 'event'"),
        ('kind = "numeric"', 'kind = "number"', 28, "features.1.kind: input should be"),
        ('time_zone = "UTC"', 'time_zone = "Mars"', 4, "must be an IANA time zone such as Europe/Berlin"),
        ('view = ["view"]', 'view = ["view", "4"]', 12, "must list a value once, but '4' is there twice"),
        ('time = "t"', "", None, "must have columns.action, columns.time and [actions] where shape is events"),
        ('column = "price"', 'column = "brand"', None, "must list a feature once, but 'brand' is there twice"),
        ('column = "price"', 'column = "a"', None, "must not use the label column 'a' as a feature"),
        ('column = "price"', 'column = "price"\nname = "cart"', None, "must have no feature called 'cart'"),
        ("test_from = 2026-03-02", "test_from = 2026-02-02", 19, "must have first before valid_from before test_from"),
        ("test_from = 2026-03-02", "", 19, "must have both valid_from and test_from, or neither"),
        ('user = "u"', "", 6, "columns.user must be there, but is missing; add it"),
        ('name = "shop"', 'name = "../shop"', 1, "but got '../shop'"),
        ("[visits]", "[visits", 16, "must be TOML"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, line: int | None, message: str) -> None:
    assert WHOLE.count(old) == 1
    with pytest.raises(UserError) as error:
        spec_of(tmp_path / "a.toml", WHOLE.replace(old, new))
    said = str(error.value)
    assert message in said and "\n" not in said
    assert said.startswith(str(tmp_path / "a.toml"))
    assert line is None or f"line {line}" in said, said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.toml cannot be read .*init-spec"):
        read_spec(tmp_path / "none.toml")


def test_splits_must_leave_something() -> None:
    with pytest.raises(ValueError, match="must leave rows for training"):
        Splits(valid_share=0.5, test_share=0.5)
    assert Rules(shape="events").splits == Splits()
