"""The key of a cell is a hash of everything that decides its result, and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bench.core.cell import Cell, canonical, digest
from bench.core.config import Config, override

CELL = Cell(dataset="d", fingerprint="f", city="1", model="esmm", config=Config(), seed=0)


def test_canonical_json_knows_no_order() -> None:
    assert canonical({"b": [1, 2.5, None], "a": "ü"}) == '{"a":"ü","b":[1,2.5,null]}'
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})


def test_canonical_json_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))


def test_the_digest_is_the_start_of_the_sha256_of_canonical_json() -> None:
    # echo -n '{"a":1}' | sha256sum
    assert digest({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad808"


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "e"},
        {"fingerprint": "g"},
        {"city": "2"},
        {"model": "esmc"},
        {"config": override(Config(), ["dropout=0.5"])},
        {"seed": 1},
        {"test": False},
        {"code": "0123456789abcdef"},
    ],
)
def test_every_field_decides_the_key(change: dict[str, Any]) -> None:
    assert CELL.model_copy(update=change).key != CELL.key


def test_equal_cells_have_one_key_and_it_survives_storage() -> None:
    assert Cell.model_validate_json(CELL.model_dump_json()).key == CELL.key
    assert len(CELL.key) == 32


def test_a_cell_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        CELL.seed = 1  # type: ignore[misc]


def test_the_title_names_dataset_city_model_and_seed() -> None:
    assert CELL.title == "d/1 esmm seed 0"
