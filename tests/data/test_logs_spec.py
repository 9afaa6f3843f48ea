"""The specification of an import: each mistake is one line with the file's line, the key and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.data.logs.rules import Rules, Splits
from bench.data.logs.spec import Spec
from bench.data.logs.spec_file import line_of, read_spec

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
        ('time = "t"', "", 2, "must have columns.action, columns.time and [actions] where shape is events"),
        ('column = "price"', 'column = "brand"', 27, "must list a feature once, but 'brand' is there twice"),
        ('column = "price"', 'column = "a"', 27, "must not use the label column 'a' as a feature"),
        ('column = "price"', 'column = "price"\nname = "cart"', 28, "must have no feature called 'cart'"),
        ("test_from = 2026-03-02", "test_from = 2026-02-02", 19, "must have first before valid_from before test_from"),
        ("test_from = 2026-03-02", "", 19, "must have both valid_from and test_from, or neither"),
        ('user = "u"', "", 6, "columns.user must be there, but is missing; add it"),
        ('name = "shop"', 'name = "../shop"', 1, "but got '../shop'"),
        ("[visits]", "[visits", 16, "must be TOML"),
        ('shape = "events"', 'shap = "events"', 2, "unknown key 'shap'. Did you mean 'shape'?"),
        ('files = ["a.csv"]', 'files = "a.csv"', 3, "files must be a list such as ['a.csv'], but is no list"),
        ('time_zone = "UTC"', 'time_zone = "localtime"', 4, "must be an IANA time zone such as Europe/Berlin"),
        ('time = "t"', 'time = "t"\nvisit = "v"', 17, "must have columns.visit or [visits], not both"),
        ('time = "t"', 'time = "U"', 9, "columns must name a column once, but 'u' is there twice"),
        ('item = "i"', 'itm = "i"', 8, "unknown key 'itm'. Did you mean 'item'?"),
        (
            "min_count = 3",
            "min_count = 0",
            33,
            "items.features.0.min_count: input should be greater than or equal to 1",
        ),
        ('column = "price"', 'column = "Brand"', 27, "must list a feature once, but 'Brand' is there twice"),
        ('column = "price"', 'column = "price"\nname = "hour"', 28, "no feature called 'hour', which the import makes"),
        ('column = "price"', 'column = "Item"', 27, "must have no feature called 'Item', which the import makes"),
        ('column = "price"', 'column = "domain"', 27, "must have no feature called 'domain', which the import makes"),
        ('column = "price"', 'column = "Purchase"', 27, "must have no feature called 'Purchase', which is a label"),
        ('kind = "numeric"', 'separator = "|"', 28, 'must have kind = "multi" where it has a separator'),
        ('key = "id"', 'key = "id"\nnames = ["id", "colour"]', 33, "must have header = false where it lists names"),
        ('key = "id"', 'key = "id"\nheader = false\nnames = ["id", "ID"]', 34, "must list a name once, but 'id' is"),
        (
            "[visits]",
            '[time]\nformat = "%Q"\n[visits]',
            17,
            "must have a format such as %Y-%m-%d %H:%M:%S, but it is '%Q'",
        ),
        ("[visits]", '[time]\nformat = "%Y"\nunit = "s"\n[visits]', 18, "must have a unit or a format, not both"),
        ("[visits]", '[labels]\nclick = "c"\n[visits]', 16, "must have no [labels], [behaviour] or splits.column"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert WHOLE.count(old) == 1
    with pytest.raises(UserError) as error:
        spec_of(tmp_path / "a.toml", WHOLE.replace(old, new))
    said = str(error.value)
    assert message in said and "\n" not in said
    assert said.startswith(str(tmp_path / "a.toml"))
    assert re.search(rf"line {line}\b", said), said


@pytest.mark.parametrize(
    ("text", "place", "line"),
    [
        ("a.b = 1\n[c]\nd.e = 2", ("c", "d", "e"), 3),
        ("a.b = 1\n[c]\nd.e = 2", ("a", "b"), 1),
        ("a = { b = 1 }", ("a", "b"), 1),
        ('["a"]\n"b" = 1', ("a", "b"), 2),
        ("[a]\n[[a.b]]\nc = 1\n[[a.b]]\n[d]\nc = 1", ("a", "b", 1, "c"), 4),
        ("[[a]]\nc = 1\n[[a]]\nd = 1\nc = 2  # c = 1", ("a", 1, "c"), 5),
        ("a = 1", ("b",), None),
    ],
)
def test_lines_of_keys(text: str, place: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(text, place) == line


def test_marks_of_other_editors_are_no_mistake(tmp_path: Path) -> None:
    assert spec_of(tmp_path / "a.toml", "\ufeff" + WHOLE).name == "shop"


def test_own_features_may_be_described(tmp_path: Path) -> None:
    text = WHOLE.replace('column = "brand"', 'column = "i"\nname = "item"\nbuckets = 10')
    found = {feature.name: feature.buckets for feature in spec_of(tmp_path / "a.toml", text).all_features()}
    assert found["item"] == 10


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.toml cannot be read .*init-spec"):
        read_spec(tmp_path / "none.toml")


def test_splits_must_leave_something() -> None:
    with pytest.raises(ValueError, match="must leave rows for training"):
        Splits(valid_share=0.5, test_share=0.5)
    assert Rules(shape="events").splits == Splits()
