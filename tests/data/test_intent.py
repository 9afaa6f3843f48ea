from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_tables import encoded, rows, write_tables

from bench.data import intent
from bench.data.batches import BatchMaker, label_columns
from bench.data.encoded import LABEL_COLUMNS, EncodedCity

DAY = 86_400


def intents(city: EncodedCity) -> list[int]:
    """The label by exposure id."""
    return city.labels[np.argsort(city.exposure), LABEL_COLUMNS.index("intent")].tolist()


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """One user clicks items 1, 2, 3 in training and 1 in the test; what was done with them before differs."""
    exposures = rows(
        "user item click split time visit",
        (9, 1, 1, "train", 10 * DAY, 0),
        (9, 2, 1, "train", 10 * DAY, 0),
        (9, 3, 1, "train", 10 * DAY, 0),
        (9, 1, 0, "train", 10 * DAY + 5, 0),
        (9, 1, 1, "test", 11 * DAY, 1),
    )
    events = rows(
        "user item time visit action domain",
        (9, 1, 4 * DAY, 7, "cart", "recommendation"),  # two half-lives ago: 3 / 4
        (9, 2, 7 * DAY, 8, "browse", "recommendation"),  # one half-life ago: 2 / 2
        (9, 3, 10 * DAY + 1, 0, "cart", "recommendation"),  # not before the visit
        (8, 3, 9 * DAY, 6, "cart", "recommendation"),  # of somebody else
    )
    return write_tables(tmp_path / "tables", exposures=exposures, events=events)


@pytest.mark.parametrize(
    ("share", "wanted"), [(0.34, [0, 1, 0, 0, 0]), (0.7, [1, 1, 0, 0, 0]), (1.0, [1, 1, 0, 0, 0]), (0.3, [0] * 5)]
)
def test_the_clicked_training_rows_with_the_highest_scores_have_intent(
    tables: Path, monkeypatch: pytest.MonkeyPatch, share: float, wanted: list[int]
) -> None:
    """Item 2 scores 1, item 1 scores 0.75, item 3 nothing; three training rows are clicked."""
    monkeypatch.setattr(intent, "SHARE", share)
    assert intents(encoded(tables)) == wanted


def test_a_log_without_events_has_no_intent(tmp_path: Path) -> None:
    exposures = rows("user item click split", (1, 5, 1, "train"), (2, 5, 0, "test"))
    assert intents(encoded(write_tables(tmp_path / "tables", exposures=exposures))) == [0, 0]


def test_the_action_of_a_batch_is_what_the_knob_says(city: EncodedCity) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, city.labels.shape).astype(np.uint8)
    label = {name: labels[:, index] for index, name in enumerate(LABEL_COLUMNS)}
    planted = EncodedCity(**{**city.__dict__, "labels": labels})
    made = np.arange(300)
    for calibration, cart in (("none", "cart"), ("copy", "cart_copy"), ("move", "cart_move")):
        for action in ("cart", "wish", "cart_wish", "cart_wish_intent"):
            batch = BatchMaker(planted, 0, calibration, action).make(made)  # type: ignore[arg-type]
            also = [label[name] for name in ("wish", "intent") if name in action]
            own = [label[cart]] if "cart" in action else []
            both = [label[f"global_{calibration}"]] if "cart" in action else []
            wanted = (label["click"], np.max(own + also, 0), label["purchase"], np.max(both + also, 0))
            for column, values in enumerate(wanted):
                assert (batch.labels[:, column].numpy() == values[made]).all(), (calibration, action, column)
    assert label_columns("none", "cart")[1] == []
