"""DNN and DNN-OS: two estimators with nothing in common, and purchases that count several times."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines._separate import SeparateInputs, some_rows
from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.batches import Batch, BatchMaker, Labels
from bench.data.encoded import EncodedCity
from bench.modeling.inputs import FunnelInputs, InputShape
from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb

CONFIG = Config(hidden=(8, 4), din_length=6, eta_length=30, eta_top_k=4)


def make(city: EncodedCity, name: str = "dnn", **knobs: float) -> FunnelModule:
    model: FunnelModule = MODELS.get(name)(CONFIG.model_copy(update=knobs), InputShape.of(city), seed=0)
    return model


def batch_of(city: EncodedCity, rows: np.ndarray) -> Batch:
    return BatchMaker(city, 30).make(rows)


def test_each_loss_reaches_its_own_half_alone(city: EncodedCity) -> None:
    """Every parameter and both tables: nothing is shared, and nothing is left out."""
    for term, (own, other, place) in {"ctr": ("ctr", "cvr", 0), "cvr": ("cvr", "ctr", 1)}.items():
        model, batch = make(city).train(), batch_of(city, np.arange(200))
        model.losses(model(batch), Labels(*batch.labels.unbind(1)))[term].backward()
        inputs = model.inputs
        assert inputs.get_submodule(own).table.touched.leaf.grad.any(1).all()
        assert inputs.get_submodule(other).table.touched.leaf.grad is None or not (
            inputs.get_submodule(other).table.touched.leaf.grad.any()
        )
        for name, parameter in inputs.named_parameters():
            if parameter.requires_grad:
                moved = parameter.grad is not None and bool(parameter.grad.any())
                assert moved == name.startswith(own), (term, name)
        for parameter in (*model.towers.weights, *model.towers.biases):  # type: ignore[union-attr, misc]
            assert parameter.grad[place].any()
            assert not parameter.grad[1 - place].any()


def test_the_cvr_estimator_meets_clicked_rows_only(city: EncodedCity) -> None:
    """While training its table is read, and therefore updated, where a click has touched it and nowhere else."""
    model, batch = make(city).train(), batch_of(city, np.arange(60))
    model(batch)
    clicked = batch.labels[:, 0] > 0
    assert 0 < clicked.sum() < 60
    blocks = (batch.slots[clicked] // batch.block_rows).unique()
    events = batch.histories[0].events[blocks][batch.histories[0].mask[blocks]]
    expected = set(batch.ids[clicked].flatten().tolist()) | set(events.tolist())
    assert set(model.inputs.cvr.table.touched.rows.tolist()) == expected
    assert set(model.inputs.ctr.table.touched.rows.tolist()) > expected


def test_training_and_prediction_read_the_same_vectors(city: EncodedCity) -> None:
    inputs, batch = SeparateInputs(CONFIG, InputShape.of(city)), batch_of(city, np.arange(120))
    inputs.reset(0)
    trained, predicted = inputs.train()(batch).detach(), inputs.eval()(batch)
    clicked, half = batch.labels[:, 0] > 0, inputs.width // 2
    torch.testing.assert_close(trained[:, :half], predicted[:, :half])
    torch.testing.assert_close(trained[clicked, half:], predicted[clicked, half:], rtol=1e-4, atol=1e-6)
    assert not trained[~clicked, half:].any()
    assert predicted[~clicked, half:].any(1).all()


@pytest.mark.parametrize("rows", [[0], [3, 11, 12, 40, 41], [59], list(range(60))])
def test_some_rows_of_a_batch_are_a_batch(city: EncodedCity, rows: list[int]) -> None:
    whole = batch_of(city, np.arange(60))
    part = some_rows(whole, torch.tensor(rows))
    inputs = FunnelInputs(CONFIG, InputShape.of(city))
    inputs.reset(0)
    torch.testing.assert_close(inputs.eval()(part), inputs(whole)[rows], rtol=1e-4, atol=1e-6)
    assert part.rows.tolist() == rows
    assert torch.equal(part.labels, whole.labels[rows])
    assert part.histories[0].mask[:, :1].any() or part.histories[0].mask.shape[1] == 0  # no column of padding alone


def test_a_batch_without_clicks_trains_ctr_alone(city: EncodedCity) -> None:
    model, batch = make(city).train(), batch_of(city, np.arange(60))
    batch = batch._replace(labels=torch.zeros_like(batch.labels))
    step, optimizer = model.training_step(batch, 0), model.optimizer()
    before = [table.weight.clone() for table in model.tables()]
    step["loss"].backward()
    optimizer.step()
    assert step["terms"]["cvr"].item() == 0.0
    changed = [not torch.equal(table.weight, old) for table, old in zip(model.tables(), before, strict=True)]
    assert changed == [True, False]


def test_both_tables_are_updated_on_their_touched_rows(city: EncodedCity) -> None:
    model, batch = make(city).train(), batch_of(city, np.arange(60))
    optimizer = model.optimizer()
    assert [id(table) for table in optimizer.tables] == [id(model.inputs.ctr.table), id(model.inputs.cvr.table)]
    before = [table.weight.clone() for table in optimizer.tables]
    model.training_step(batch, 0)["loss"].backward()
    rows = [set(table.touched.rows.tolist()) for table in optimizer.tables if table.touched is not None]
    optimizer.step()
    for table, old, touched in zip(optimizer.tables, before, rows, strict=True):
        assert set((table.weight != old).any(1).nonzero().flatten().tolist()) == touched


def test_the_ctr_estimator_starts_as_all_models_do(city: EncodedCity) -> None:
    dnn, esmm = make(city), make(city, "esmm")
    for key, value in esmm.inputs.state_dict().items():
        assert torch.equal(dnn.inputs.ctr.state_dict()[key], value), key
    assert not torch.equal(dnn.inputs.ctr.table.weight, dnn.inputs.cvr.table.weight)


def probabilities(values: list[float]) -> LogProb:
    p = torch.tensor(values, dtype=torch.float64)
    return LogProb(p.log(), (1 - p).log())


def test_a_purchase_counts_as_often_as_it_is_drawn(city: EncodedCity) -> None:
    """Weight k equals the mean over clicked rows of which each purchase was drawn k times."""
    ctr, cvr = probabilities([0.5, 0.6, 0.7, 0.2, 0.1]), probabilities([0.3, 0.4, 0.1, 0.8, 0.2])
    click, purchase = torch.tensor([1.0, 1, 1, 1, 0]), torch.tensor([1.0, 0, 0, 1, 0])
    labels, output = Labels(click, click, purchase, click), FunnelOutput(ctr, cvr, ctr.times(cvr))
    for k in (1, 3, 10):
        drawn = [-np.log(0.3)] * k + [-np.log(0.6), -np.log(0.9)] + [-np.log(0.8)] * k
        terms = make(city, "dnn_os", oversampling=float(k), weight_cvr=2.0).losses(output, labels)
        assert terms["cvr"].item() == pytest.approx(2.0 * np.mean(drawn), rel=1e-6)
        assert terms["ctr"].item() == make(city, "dnn").losses(output, labels)["ctr"].item()
    plain = make(city, "dnn").losses(output, labels)["cvr"]
    assert make(city, "dnn_os", oversampling=1.0).losses(output, labels)["cvr"].item() == plain.item()
