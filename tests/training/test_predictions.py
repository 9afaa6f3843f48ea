"""Predictions on disk: the test rows in order, also where they are written in several groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.data.encoded import EncodedCity
from bench.data.tables import LABELS, TRUTH
from bench.training.predictions import write_predictions


@pytest.mark.parametrize("group", [1 << 20, 300])
def test_rows_are_those_of_the_test_split(
    city: EncodedCity, group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.training.predictions.GROUP_ROWS", group)
    start, stop = city.meta.splits["test"]
    ctr = np.random.default_rng(0).random(stop - start)
    write_predictions(tmp_path / "predictions.parquet", city, {"ctr": ctr})
    file = pq.ParquetFile(tmp_path / "predictions.parquet")
    assert file.num_row_groups == -(-(stop - start) // group)
    found = file.read()
    assert found.column_names == ["exposure", "user", *LABELS, "ctr", *TRUTH]
    assert found["exposure"].to_pylist() == city.exposure[start:stop].tolist()
    assert found["user"].to_pylist() == city.user[start:stop].tolist()
    assert city.truth is not None
    for index, label in enumerate(LABELS):
        assert found[label].to_pylist() == city.labels[start:stop, index].tolist()
    for index, name in enumerate(TRUTH):
        assert found[name].to_pylist() == city.truth[start:stop, index].tolist()
    assert found.schema.field("ctr").type == pa.float32()
    assert found["ctr"].to_pylist() == ctr.astype(np.float32).tolist()
