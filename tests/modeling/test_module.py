"""FunnelModule: default losses, steps, optimiser, warm-up, and Lightning's loop against a plain one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from bench.core.config import PRESETS, Config
from bench.data.batches import BatchMaker, Labels
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from bench.modeling.outputs import FunnelOutput
from bench.nn.funnel import LogProb
from bench.nn.optimisers import AdagradDecay, Adam

LABELS = Labels(
    click=torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0]),
    cart=torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0]),
    purchase=torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0]),
    global_cart=torch.ones(5),
)
#: Probabilities of five rows: good case, cart only, bad case, not clicked, and labels that a click is missing to.
CTR, CTCVR, CTCAR = [0.6, 0.5, 0.4, 0.2, 0.3], [0.3, 0.2, 0.1, 0.02, 0.1], [0.4, 0.3, 0.2, 0.05, 0.2]


class Twins(FunnelModule):
    """The least a model can be."""

    name = "twins"
    title = "Twins"
    source = "this test"

    def build(self, width: int) -> None:
        self.towers = self.towers_on(width, "ctr", "cvr")

    def compose(self, x: Tensor) -> FunnelOutput:
        logits = self.towers.logits(x)
        ctr, cvr = LogProb.from_logit(logits["ctr"]), LogProb.from_logit(logits["cvr"])
        return FunnelOutput(ctr=ctr, cvr=cvr, ctcvr=ctr.times(cvr))


def given(probabilities: list[float]) -> LogProb:
    p = torch.tensor(probabilities, dtype=torch.float64)
    return LogProb(p.log(), (1 - p).log())


def cross_entropy(p: list[float], y: list[int]) -> float:
    return -float(np.mean([np.log(a) if b else np.log(1 - a) for a, b in zip(p, y, strict=True)]))


def make(city: EncodedCity, **knobs: Any) -> Twins:
    return Twins(Config(batch_size=256, hidden=(8, 4), **knobs), InputShape.of(city), seed=0)


def trained(city: EncodedCity, model: FunnelModule, *callbacks: pl.Callback) -> pl.Trainer:
    trainer = pl.Trainer(
        max_epochs=model.config.epochs,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        reload_dataloaders_every_n_epochs=1,
        limit_val_batches=0,
    )
    trainer.fit(model, datamodule=FunnelDataModule(city, model.config, seed=0))
    return trainer


def test_losses_of_the_entire_space_by_hand(city: EncodedCity) -> None:
    """Means over all exposures of click, click x purchase and click x cart (ESMC Eq. 4, 17)."""
    output = FunnelOutput(given(CTR), given(CTR), given(CTCVR), given(CTR), given(CTCAR))
    terms = make(city).losses(output, LABELS)
    assert list(terms) == ["ctr", "ctcvr", "ctcar"]
    assert terms["ctr"].item() == pytest.approx(cross_entropy(CTR, [1, 1, 1, 0, 0]))
    assert terms["ctcvr"].item() == pytest.approx(cross_entropy(CTCVR, [1, 0, 1, 0, 0]))
    assert terms["ctcar"].item() == pytest.approx(cross_entropy(CTCAR, [1, 1, 0, 0, 0]))


def test_weights_multiply_their_terms(city: EncodedCity) -> None:
    output = FunnelOutput(given(CTR), given(CTR), given(CTCVR), given(CTR), given(CTCAR))
    plain = make(city).losses(output, LABELS)
    weights = {"weight_ctr": 2.0, "weight_cvr": 3.0, "weight_car": 5.0}
    weighted = make(city, **weights).losses(output, LABELS)
    ratios = {name: (weighted[name] / plain[name]).item() for name in plain}
    assert ratios == pytest.approx({"ctr": 2.0, "ctcvr": 3.0, "ctcar": 5.0})


def test_a_model_without_carts_has_no_cart_loss(city: EncodedCity) -> None:
    output = FunnelOutput(given(CTR), given(CTR), given(CTCVR))
    assert list(make(city).losses(output, LABELS)) == ["ctr", "ctcvr"]
    assert [name for name, _ in output.present()] == ["ctr", "cvr", "ctcvr"]


def test_the_loss_is_the_sum_of_its_terms(city: EncodedCity) -> None:
    model, batch = make(city), BatchMaker(city, 20).make(np.arange(100))
    step = model.training_step(batch, 0)
    assert step["loss"].item() == pytest.approx(sum(term.item() for term in step["terms"].values()))
    assert step["loss"].requires_grad
    assert not any(term.requires_grad for term in step["terms"].values())
    expected = model.losses(model(batch), Labels(*batch.labels.unbind(1)))
    assert {name: term.item() for name, term in expected.items()} == pytest.approx(
        {name: term.item() for name, term in step["terms"].items()}
    )


class Tied(Twins):
    """One term more, which judges no probability."""

    unweighted = ("tie",)

    def losses(self, output: FunnelOutput, labels: Labels) -> dict[str, Tensor]:
        return super().losses(output, labels) | {"tie": self.towers.weights[0].square().sum()}


def test_uncertainty_weights_the_terms_that_judge_probabilities(city: EncodedCity) -> None:
    """The sum of exp(-s) L + s / 2, the declared term as it is; what is reported stays raw."""
    config = Config(batch_size=256, hidden=(8, 4), task_weighting="uncertainty", dropout=0.3)
    model, plain = Tied(config, InputShape.of(city)), Tied(Config(hidden=(8, 4), dropout=0.3), InputShape.of(city))
    assert model.training
    assert set(dict(model.named_parameters())) - set(dict(plain.named_parameters())) == {
        "uncertainty.log_variance.ctr",
        "uncertainty.log_variance.ctcvr",
    }
    assert set(model.uncertainty.log_variance.state_dict()) == {"ctr", "ctcvr"}
    model.uncertainty.log_variance["ctr"].data.fill_(0.5)
    model.uncertainty.log_variance["ctcvr"].data.fill_(-1.0)
    step = model.training_step(BatchMaker(city, 20).make(np.arange(100)), 0)
    raw = {name: term.item() for name, term in step["terms"].items()}
    expected = np.exp(-0.5) * raw["ctr"] + 0.25 + np.exp(1.0) * raw["ctcvr"] - 0.5 + raw["tie"]
    assert step["loss"].item() == pytest.approx(expected, rel=1e-6)
    assert model.notes() == pytest.approx(
        {"learned_weight_ctr": np.exp(-0.5), "learned_weight_ctcvr": np.exp(1.0)}, rel=1e-6
    )
    assert plain.notes() == {}
    for name, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_predictions_are_probabilities_by_name(city: EncodedCity) -> None:
    model, batch = make(city).eval(), BatchMaker(city, 20).make(np.arange(100))
    found, output = model.predict_step(batch, 0), model(batch)
    assert list(found) == ["ctr", "cvr", "ctcvr"]
    torch.testing.assert_close(found["ctr"], output.ctr.yes.exp())
    torch.testing.assert_close(found["ctcvr"], found["ctr"] * found["cvr"])
    assert all(value.dtype == torch.float32 and value.shape == (100,) for value in found.values())


def test_the_optimiser_takes_its_knobs(city: EncodedCity) -> None:
    knobs = {"initial_accumulator": 0.1, "accumulator_decay": 0.7, "accumulator_period": 9, "learning_rate": 0.03}
    optimizer = make(city, **knobs).optimizer()
    assert isinstance(optimizer, AdagradDecay)
    assert (optimizer.start, optimizer.decay, optimizer.period) == (0.1, 0.7, 9)
    assert {group["lr"] for group in optimizer.param_groups} == {0.03}
    assert isinstance(make(city, optimizer="adam").optimizer(), Adam)
    assert isinstance(Twins(PRESETS["esm2"], InputShape.of(city)).optimizer(), Adam)


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
def test_the_optimiser_has_every_parameter_once(city: EncodedCity, weighting: str) -> None:
    model = make(city, task_weighting=weighting)
    owned = [id(p) for group in model.optimizer().param_groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())


class Rates(pl.Callback):
    """The learning rates that were used."""

    def __init__(self) -> None:
        self.used: list[float] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: Any) -> None:
        rates = {group["lr"] for group in optimizer.param_groups}
        assert len(rates) == 1
        self.used.append(rates.pop())


@pytest.mark.parametrize(("warmup", "epochs", "steps"), [(0.5, 1, 11), (0.25, 2, 22), (0.0, 1, 11), (1.0, 1, 11)])
def test_linear_warm_up(city: EncodedCity, warmup: float, epochs: int, steps: int) -> None:
    """Linear from lr / k over the first k = share x steps, then constant. 2800 rows in batches of 256: 11 steps."""
    start, stop = city.meta.splits["train"]
    assert -(-(stop - start) // 256) * epochs == steps
    rates = Rates()
    trained(city, make(city, warmup=warmup, epochs=epochs, learning_rate=0.02), rates)
    ramp = max(1, round(warmup * steps))
    assert rates.used == pytest.approx([0.02 * min(1.0, step / ramp) for step in range(1, steps + 1)])


@pytest.mark.parametrize("optimizer", ["adagrad_decay", "adam"])
def test_lightning_trains_what_a_plain_loop_trains(city: EncodedCity, optimizer: str) -> None:
    """Bit for bit, embedding table included: Lightning calls zero_grad between forward and backward."""
    knobs = {"optimizer": optimizer, "warmup": 0.0, "learning_rate": 0.01}
    model, plain = make(city, **knobs), make(city, **knobs)
    start = model.inputs.table.weight.clone()
    trained(city, model)
    plain.train()
    steps = plain.optimizer()
    for batch in FunnelDataModule(city, plain.config, seed=0).train_dataloader():
        steps.zero_grad()
        plain.training_step(batch, 0)["loss"].backward()
        steps.step()
    for name, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    rows = slice(*city.meta.splits["train"])
    seen = torch.from_numpy(np.unique(np.asarray(city.ids[rows]).astype(np.int64)))
    assert (model.inputs.table.weight[seen] != start[seen]).any(1).all()  # every row that was seen has learned


def test_epochs_come_in_different_orders(city: EncodedCity) -> None:
    class Orders(pl.Callback):
        rows: list[list[int]]

        def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            self.rows = [*getattr(self, "rows", []), []]

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            self.rows[-1] += batch.rows.tolist()

    orders = Orders()
    trained(city, make(city, epochs=3), orders)
    assert len({tuple(rows) for rows in orders.rows}) == 3
    assert {tuple(sorted(rows)) for rows in orders.rows} == {tuple(range(*city.meta.splits["train"]))}


def test_initial_values_follow_the_seed(city: EncodedCity) -> None:
    config, shape = Config(hidden=(8, 4)), InputShape.of(city)
    first, again, other = (Twins(config, shape, seed).state_dict() for seed in (1, 1, 2))
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
    assert not torch.equal(first["inputs.table.weight"], other["inputs.table.weight"])
    assert not torch.equal(first["towers.weights.0"], other["towers.weights.0"])


class Plain(Twins):
    """With layers of torch in place of ours."""

    def build(self, width: int) -> None:
        self.bottom = nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.LayerNorm(8))
        self.heads = nn.Linear(8, 2)

    def compose(self, x: Tensor) -> FunnelOutput:
        ctr, cvr = (LogProb.from_logit(logit) for logit in self.heads(self.bottom(x)).unbind(1))
        return FunnelOutput(ctr=ctr, cvr=cvr, ctcvr=ctr.times(cvr))


def test_layers_of_torch_start_by_the_seed_alone(city: EncodedCity) -> None:
    def made(seed: int) -> dict[str, Tensor]:
        return dict(Plain(Config(), InputShape.of(city), seed).named_parameters())

    torch.manual_seed(1)
    first, state = made(0), torch.get_rng_state()
    torch.manual_seed(2)
    again, other = made(0), made(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name in ("bottom.0.weight", "bottom.0.bias", "heads.weight", "heads.bias"):
        assert not torch.equal(first[name], other[name]), name
        assert first[name].any()
    torch.manual_seed(1)
    made(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_term_of_weight_0_learns_no_weight(city: EncodedCity) -> None:
    model = make(city, task_weighting="uncertainty", weight_cvr=0.0)
    assert set(model.uncertainty.log_variance.state_dict()) == {"ctr"}  # type: ignore[union-attr]
