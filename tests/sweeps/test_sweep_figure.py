"""The picture of a study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from optuna.trial import TrialState

from bench.core.cell import Cell
from bench.core.config import Config
from sweeps.figure import draw, file_name, spread
from sweeps.space import SPACES, grid
from sweeps.study import VALUES, Subject


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that are saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def kept(figure: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", kept)
    yield figures


def make(model: str, seeds: int, trials: int, failed: int | None = None) -> tuple[optuna.Study, Subject]:
    """A study in which later trials are better; each seed beats the one before by 0.02."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    cell = Cell(dataset="town", fingerprint="x", city="a", model=model, config=Config(), seed=0, test=False)
    what = Subject(cell, SPACES[model], seeds)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for values in grid(what.knobs):
        study.enqueue_trial(values)
    for number in range(trials):
        trial = study.ask(what.distributions)
        values = [0.6 + 0.001 * number + 0.02 * seed for seed in range(seeds)]
        trial.set_user_attr(VALUES, values)
        if number == failed:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, float(np.mean(values)))
    return study, what


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_panel_per_knob_and_one_over_trials(drawn: list[Figure], tmp_path: Path) -> None:
    draw(*make("esmc2", 1, 27), "ESMC²", tmp_path / "study.png")
    (figure,) = drawn
    panels = figure.axes[:3]
    assert [panel.get_xscale() for panel in panels] == ["log", "log", "linear"]
    assert [panel.get_xlabel().split()[0] for panel in panels] == ["constraint_weight", "weight_global", "trial"]
    assert list(panels[0].get_xticks()) == [0.01, 0.05, 0.1, 0.5, 1.0]
    assert figure.get_suptitle().startswith("ESMC²: best of 27 trials at constraint_weight = ")
    assert labels(figure) == ["of the paper's grid", "searched", "best", "best so far"]
    assert (tmp_path / "study.png").stat().st_size > 10_000


def test_trials_of_the_grid_look_different_and_the_best_is_marked(drawn: list[Figure], tmp_path: Path) -> None:
    study, what = make("esmc", 1, 8, failed=2)
    draw(study, what, "ESMC", tmp_path / "study.png")
    (figure,) = drawn
    square = MarkerStyle("s")
    square_path = square.get_path().transformed(square.get_transform())
    shapes = [points.get_paths()[0].vertices for points in figure.axes[0].collections]
    assert [np.array_equal(shape, square_path.vertices) for shape in shapes] == [True] * 4 + [False] * 3
    stair, lost, ring = figure.axes[1].lines
    assert list(lost.get_xdata()) == [2]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (7, study.best_value)
    assert list(stair.get_ydata()) == pytest.approx([0.6, 0.601, 0.603, 0.604, 0.605, 0.606, 0.607])
    assert labels(figure)[-1] == "failed"


def test_several_seeds_have_error_bars(drawn: list[Figure], tmp_path: Path) -> None:
    study, what = make("esmc", 3, 2)
    assert spread(study.trials[0]) == pytest.approx(0.02)
    draw(study, what, "ESMC", tmp_path / "study.png")
    (figure,) = drawn
    assert len(figure.axes[0].containers) == 2
    assert figure.axes[0].get_ylabel() == "validation CTCVR-AUC (mean of 3 seeds)"
    assert labels(figure)[-1] == "± standard deviation over 3 seeds"


def test_one_seed_and_failed_trials_have_no_spread() -> None:
    study, _ = make("esmc", 1, 1)
    assert spread(study.trials[0]) is None
    study, _ = make("esmc", 2, 2, failed=0)
    assert spread(study.trials[0]) is None


def test_one_trial_can_be_drawn(tmp_path: Path) -> None:
    draw(*make("esms2", 1, 1), "ESMS²", tmp_path / "study.png")
    assert (tmp_path / "study.png").exists()


def test_names_of_files() -> None:
    assert file_name("six_cities/6/esmc2/a+b/1a2b3c4d/2-seeds") == "six_cities-6-esmc2-a+b-1a2b3c4d-2-seeds.png"
    assert file_name("world (1, 2)/../é/1a2b3c4d") == "world-1-2-..-é-1a2b3c4d.png"
    assert file_name(f"{'x' * 300}/1a2b3c4d").endswith("-1a2b3c4d.png")
    assert len(file_name(f"{'x' * 300}/1a2b3c4d")) < 200
