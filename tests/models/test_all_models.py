"""Every model of the registry: what each must keep, whatever it is. A new model file is covered as it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from bench.core.cell import Cell
from bench.core.config import MODEL_KNOBS, PRESETS, Config
from bench.core.record import PREDICTIONS, WEIGHTS, Record
from bench.core.registry import MODELS
from bench.data.batches import BatchMaker, Labels
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.data.tables import FACTS
from bench.metrics.spaces import TARGETS
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from bench.training.train import train_cell

CONFIG = Config(hidden=(16, 8), embedding_dim=8, batch_size=64, learning_rate=0.02)
#: For each model knob a value that differs from the default.
OTHER: dict[str, Any] = {
    "experts": 2,
    "levels": 1,
    "trees": 3,
    "tree_depth": 2,
    "tree_leaf": 200,
    "tree_rows": 0.3,
    "tree_fields": 0.3,
    "oversampling": 2.0,
    "propensity_clip": 0.9,
    "weight_risk": 2.0,
    "weight_calibrator": 5.0,
    "constraint": "softmax",
    "constraint_weight": 3.0,
    "calibration": "none",
    "weight_car": 7.0,
    "weight_global": 3.0,
}
NEURAL = {name for name, model in MODELS.all().items() if issubclass(model, FunnelModule)}
every_model = pytest.mark.parametrize("name", sorted(MODELS.all()))
every_neural_model = pytest.mark.parametrize("name", sorted(NEURAL))

Train = Callable[..., tuple[Record, Path]]


@pytest.fixture(scope="module")
def toy(build_city: Callable[..., EncodedCity]) -> EncodedCity:
    return build_city(rows=1500, size=8)


@pytest.fixture(scope="module")
def train(toy: EncodedCity, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """The record and folder of a trained cell; equal cells are trained once."""

    @functools.cache
    def trained(name: str, config: Config = CONFIG, seed: int = 0) -> tuple[Record, Path]:
        folder = tmp_path_factory.mktemp(name)
        cell = Cell(dataset="toy", fingerprint="toy", city="1", model=name, config=config, seed=seed)
        return train_cell(cell, toy, folder), folder

    return trained


def predictions(folder: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(folder / PREDICTIONS)
    return {name: table[name].to_numpy() for name in table.column_names if name in TARGETS}


def changed(**knobs: Any) -> Config:
    return CONFIG.model_copy(update=knobs)


def test_no_model_file_is_broken() -> None:
    assert list(MODELS.all()) == MODELS.names()
    assert MODELS.broken == {}
    assert set(OTHER) == set(MODEL_KNOBS)
    assert all(getattr(Config(), knob) != value for knob, value in OTHER.items())


@every_model
def test_it_describes_itself(name: str) -> None:
    model = MODELS.get(name)
    assert model.name == name
    assert model.title
    assert model.source
    assert (model.__doc__ or "").strip()
    assert set(model.needs) <= set(FACTS)
    assert {"click", "purchase"} <= set(model.needs)
    assert set(model.knobs) <= set(MODEL_KNOBS)


@every_neural_model
def test_untrained_output_is_finite_and_consistent(name: str, toy: EncodedCity) -> None:
    model = MODELS.get(name)(CONFIG, InputShape.of(toy), seed=0).eval()
    batch = BatchMaker(toy, 100).make(np.arange(100))
    output = model(batch)
    for step, value in output.present():
        assert value.yes.shape == value.no.shape == (100,)
        assert torch.isfinite(value.yes).all(), step
        assert torch.isfinite(value.no[value.yes < 0]).all(), step
        torch.testing.assert_close(value.yes.exp() + value.no.exp(), torch.ones(100))
    clipped = output.cvr.yes == 0  # only where CVR is a quotient
    torch.testing.assert_close(output.ctcvr.yes[~clipped], (output.ctr.yes + output.cvr.yes)[~clipped])
    assert (output.ctcvr.yes[clipped] >= output.ctr.yes[clipped]).all()
    assert name == "aitm" or not clipped.any()
    assert ("cart" in model.needs) == (output.car is not None) == (output.ctcar is not None)
    terms = model.losses(output, Labels(*batch.labels.unbind(1)))
    assert all(torch.isfinite(term) for term in terms.values())


@every_neural_model
def test_every_parameter_learns(name: str, toy: EncodedCity) -> None:
    """A parameter that no loss reaches would be a line missing in ``compose``."""
    model = MODELS.get(name)(CONFIG, InputShape.of(toy), seed=0).train()
    model.training_step(BatchMaker(toy, 100, "copy").make(np.arange(400)), 0)["loss"].backward()
    dense = {key: value for key, value in model.named_parameters() if value.requires_grad}
    unmoved = [key for key, value in dense.items() if value.grad is None or not value.grad.any()]
    assert unmoved == []
    assert all(table.touched.leaf.grad.any(1).all() for table in model.tables())


@every_neural_model
def test_predictions_do_not_depend_on_the_batch(name: str, toy: EncodedCity) -> None:
    model = MODELS.get(name)(CONFIG, InputShape.of(toy), seed=0).eval()
    maker = BatchMaker(toy, 100)
    with torch.no_grad():
        whole = model.predict_step(maker.make(np.arange(60)), 0)
        alone = [model.predict_step(maker.make(np.arange(row, row + 1)), 0) for row in range(60)]
    for step, values in whole.items():
        torch.testing.assert_close(torch.cat([one[step] for one in alone]), values, rtol=1e-4, atol=1e-6)


@every_model
def test_it_learns_a_learnable_toy(name: str, train: Train) -> None:
    """Training losses fall, and clicks of unseen rows are told apart."""
    record, folder = train(name, changed(epochs=4))
    assert all(np.isfinite(value) for point in record.curve for value in point.losses.values())
    unweighted = getattr(MODELS.get(name), "unweighted", ())
    tasks = {term for point in record.curve for term in point.losses if term not in unweighted}
    for term in tasks:
        losses = [point.losses[term] for point in record.curve if term in point.losses]
        quarter = len(losses) // 4
        assert np.mean(losses[-quarter:]) < 0.97 * np.mean(losses[:quarter]), term
    for step, values in predictions(folder).items():
        assert np.isfinite(values).all(), step
        assert ((values >= 0) & (values <= 1)).all(), step
    clicks = record.metrics["test"]["auc/ctr/exposed"].value
    assert clicks is not None
    assert clicks > 0.65


@every_model
def test_the_same_seed_gives_the_same_numbers(name: str, train: Train, tmp_path: Path, toy: EncodedCity) -> None:
    """Bit for bit, dropout included; another seed gives others."""
    config = changed(dropout=0.2)
    (first, folder), (other, other_folder) = train(name, config), train(name, config, 1)
    cell = Cell(dataset="toy", fingerprint="toy", city="1", model=name, config=config, seed=0)
    again = train_cell(cell, toy, tmp_path)
    assert again.curve == first.curve
    assert again.metrics == first.metrics
    for step, values in predictions(folder).items():
        assert np.array_equal(predictions(tmp_path)[step], values), step
        assert not np.array_equal(predictions(other_folder)[step], values), step
    assert other.curve != first.curve


@every_neural_model
def test_saved_weights_give_the_same_predictions(name: str, train: Train, toy: EncodedCity) -> None:
    record, folder = train(name)
    model = MODELS.get(name)(CONFIG, InputShape.of(toy), seed=99)
    model.load_state_dict(load_file(folder / WEIGHTS))
    model.eval()
    with torch.no_grad():
        batches = FunnelDataModule(toy, CONFIG).test_dataloader()
        found = [model.predict_step(batch, index) for index, batch in enumerate(batches)]
    for step, values in predictions(folder).items():
        assert np.array_equal(torch.cat([one[step] for one in found]).numpy(), values), step
    assert record.cost.parameters == sum(parameter.numel() for parameter in model.parameters())


@every_model
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_runs(name: str, preset: str, train: Train) -> None:
    record, _ = train(name, PRESETS[preset])
    assert record.curve[-1].rows == record.cost.train_rows
    assert record.metrics["test"]["auc/ctr/exposed"].n > 0


@every_neural_model
def test_it_runs_without_histories(name: str, train: Train) -> None:
    plain, both = train(name, changed(din_length=0, eta_length=0))[0], train(name)[0]
    assert plain.cost.parameters < both.cost.parameters
    assert plain.curve != both.curve
    assert train(name, changed(din_length=0))[0].curve != train(name, changed(eta_length=0))[0].curve


@every_model
def test_knobs_of_other_models_change_nothing(name: str, train: Train) -> None:
    """Else :meth:`Config.used_by` would give two different results one key."""
    unused = {knob: value for knob, value in OTHER.items() if knob not in MODELS.get(name).knobs}
    record, folder = train(name, changed(**unused))
    plain, plain_folder = train(name)
    assert record.curve == plain.curve
    assert record.metrics == plain.metrics
    for step, values in predictions(folder).items():
        assert np.array_equal(predictions(plain_folder)[step], values), step


@every_model
def test_its_own_knobs_change_the_training(name: str, train: Train) -> None:
    for knob in MODELS.get(name).knobs:
        assert train(name, changed(**{knob: OTHER[knob]}))[0].curve != train(name)[0].curve, knob
        if knob == "calibration":
            assert train(name, changed(calibration="move"))[0].curve != train(name)[0].curve


@every_neural_model
def test_uncertainty_weights_every_term_that_judges_a_probability(name: str, train: Train) -> None:
    """They are learned and stored with the weights; the curve keeps the raw terms."""
    record, folder = train(name, changed(task_weighting="uncertainty"))
    plain, plain_folder = train(name)
    terms = set(plain.curve[0].losses) - set(MODELS.get(name).unweighted)
    learned = {key.removeprefix("learned_weight_"): value for key, value in record.notes.items() if "learned" in key}
    assert set(learned) == terms >= {"ctr"}
    assert all(value != 1.0 for value in learned.values())
    assert set(record.curve[0].losses) == set(plain.curve[0].losses)
    assert record.cost.parameters == plain.cost.parameters + len(terms)
    stored = set(load_file(folder / WEIGHTS)) - set(load_file(plain_folder / WEIGHTS))
    assert stored == {f"uncertainty.log_variance.{term}" for term in terms}
