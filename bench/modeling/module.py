"""FunnelModule: the LightningModule that every neural model extends by two methods."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from bench.core.config import COEFFICIENTS, Config
from bench.core.seeding import derive
from bench.data.batches import Batch, Labels
from bench.modeling.inputs import FunnelInputs, InputShape
from bench.modeling.outputs import FunnelOutput
from bench.modeling.whole import whole_batch
from bench.nn.embedding import EmbeddingTable
from bench.nn.mlp import Towers
from bench.nn.optimisers import AdagradDecay, Adam, RowOptimizer
from bench.nn.precision import dtype_of
from bench.nn.uncertainty import UncertaintyWeights

Learned = tuple[Tensor, dict[str, Tensor]]
Learner = Callable[[Batch, tuple[Tensor, ...]], Learned]


class FunnelModule(pl.LightningModule):
    """Base of the neural models. A model file sets ``name``, ``title``, … and implements :meth:`build` and
    :meth:`compose`; the losses default to those of the entire space (click and click-and-purchase over all
    exposures, and click-and-cart where the model has it).

    Args:
        config: knobs; those that the model does not list in ``knobs`` have no effect.
        shape: vocabulary and fields of the data.
        seed: seed of the initial parameters, which depend on (seed, parameter name) only.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    #: Where the model comes from.
    source: ClassVar[str]
    #: What it cannot be trained without, of :data:`~bench.data.tables.FACTS`: labels, and ``visit`` where it learns
    #: from carts of earlier visits, ``search`` where from those of the search domain.
    needs: ClassVar[tuple[str, ...]] = ("click", "purchase")
    #: Which of ``MODEL_KNOBS`` it uses.
    knobs: ClassVar[tuple[str, ...]] = ()
    #: Loss terms that judge no probability, such as a constraint: ``task_weighting`` leaves them as they are.
    unweighted: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Config, shape: InputShape, seed: int = 0) -> None:
        super().__init__()
        self.config, self.seed = config, seed
        self.dtype_of_products = dtype_of(config.precision)
        #: Facts about the last training batch that end up in the record's notes, each [].
        self.noted: dict[str, Tensor] = {}
        #: What stands in for :meth:`learn` while training, such as a recording of it.
        self.learner: Learner | None = None
        for name in COEFFICIENTS:
            self.register_buffer(f"_{name}", torch.tensor(getattr(config, name)), persistent=False)
        self.inputs = self.make_inputs(shape)
        self.build(self.inputs.width)
        self.uncertainty = UncertaintyWeights(self._tasks()) if config.task_weighting == "uncertainty" else None
        self.reset()

    def make_inputs(self, shape: InputShape) -> Any:
        """The module from a batch to [B, width], with ``width``, ``reset(seed)``, and the two steps ``look_up`` and
        ``assemble`` of :class:`FunnelInputs`.
        """
        return FunnelInputs(self.config, shape)

    @classmethod
    def passes(cls, config: Config) -> int:
        """How often the training rows are read."""
        return config.epochs

    @abstractmethod
    def build(self, width: int) -> None:
        """Create the layers above the shared input of ``width``."""

    @abstractmethod
    def compose(self, x: Tensor) -> FunnelOutput:
        """Probabilities from the shared input [B, width]."""

    def reset(self) -> None:
        """Initial values by parameter name, so that parts of the same name start equal in all models.

        A part without a method ``reset`` gets the values that torch gives its layers, drawn by the same seed.
        """
        for name, module in self.named_children():
            seed = derive(self.seed, "init", name)
            if hasattr(module, "reset"):
                module.reset(seed)  # type: ignore[operator]
                continue
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                for layer in module.modules():
                    if hasattr(layer, "reset_parameters"):
                        layer.reset_parameters()  # type: ignore[operator]

    def forward(self, batch: Batch) -> FunnelOutput:
        return self.output(batch, self.inputs.look_up(batch))

    def output(self, batch: Batch, found: tuple[Tensor, ...]) -> FunnelOutput:
        """Probabilities from what the input's tables have for the batch."""
        return self.compose(self.inputs.assemble(batch, found).to(self.dtype_of_products))

    def learn(self, batch: Batch, found: tuple[Tensor, ...]) -> Learned:
        """The loss [] and its terms by name, without gradients, from what the input's tables have for the batch."""
        output, labels = whole_batch(self.output(batch, found), Labels(*batch.labels.unbind(1)), batch.rows)
        terms = self.losses(output, labels)
        return self.total(terms), {name: term.detach() for name, term in terms.items()}

    def losses(self, output: FunnelOutput, labels: Labels) -> dict[str, Tensor]:
        """Weighted loss terms by name; their sum is minimised. Default: means over all exposures (ESMC Eq. 4)."""
        terms = {
            "ctr": self.config.weight_ctr * output.ctr.cross_entropy(labels.click).mean(),
            "ctcvr": self.config.weight_cvr * output.ctcvr.cross_entropy(labels.click * labels.purchase).mean(),
        }
        if output.ctcar is not None:
            terms["ctcar"] = self.config.weight_car * output.ctcar.cross_entropy(labels.click * labels.cart).mean()
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """What is minimised: the sum of the terms, under ``task_weighting="uncertainty"`` with learned weights."""
        if self.uncertainty is not None:
            terms = self.uncertainty(terms)
        return torch.stack(list(terms.values())).sum()

    def coefficient(self, name: str) -> Tensor:
        """One of :data:`COEFFICIENTS` as a tensor [], which is each cell's own where several are trained at once."""
        value: Tensor = self.get_buffer(f"_{name}")
        return value

    def notes(self) -> dict[str, float]:
        """Facts that are stored in the cell's record: what was noted of the last training batch, learned weights."""
        learned = {} if self.uncertainty is None else self.uncertainty.weights()
        return {name: float(value) for name, value in self.noted.items()} | {
            f"learned_weight_{name}": weight for name, weight in learned.items()
        }

    def towers_on(self, width: int, *names: str) -> Towers:
        """Twin towers of the configured shape with one logit each."""
        return Towers(names, width, self.config.hidden, 1, self.config.activation, self.config.dropout)

    def tables(self) -> list[EmbeddingTable]:
        """All embedding tables: they are updated on the rows that a batch touched."""
        return [module for module in self.modules() if isinstance(module, EmbeddingTable)]

    @torch.no_grad()
    def _tasks(self) -> list[str]:
        """Names of the loss terms that can be weighted; one with weight 0 has nothing to learn a weight from."""
        ones = torch.ones(1)
        self.eval()
        terms = self.losses(self.compose(torch.zeros(1, self.inputs.width)), Labels(*[ones] * len(Labels._fields)))
        self.train()
        self.noted.clear()
        return [name for name, term in terms.items() if name not in self.unweighted and float(term) != 0.0]

    # Lightning

    def training_step(self, batch: Batch, index: int) -> dict[str, Any]:
        loss, terms = (self.learner or self.learn)(batch, self.inputs.look_up(batch))
        return {"loss": loss, "terms": terms}

    def validation_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        return self.predict_step(batch, index)

    def test_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        return self.predict_step(batch, index)

    def predict_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Probabilities by name, float32 [B]."""
        return {name: value.probability().float() for name, value in self(batch).present()}

    def configure_optimizers(self) -> Any:
        return with_warmup(self.optimizer(), self.config, int(self.trainer.estimated_stepping_batches))

    def optimizer(self) -> RowOptimizer:
        return optimizer_of(self.config, self.parameters(), self.tables())


def optimizer_of(config: Config, parameters: Iterable[nn.Parameter], tables: Sequence[EmbeddingTable]) -> RowOptimizer:
    """The configured optimiser."""
    if config.optimizer == "adam":
        return Adam(parameters, tables, lr=config.learning_rate)
    return AdagradDecay(
        parameters,
        tables,
        lr=config.learning_rate,
        initial_accumulator=config.initial_accumulator,
        decay=config.accumulator_decay,
        period=config.accumulator_period,
    )


def with_warmup(optimizer: RowOptimizer, config: Config, steps: int) -> dict[str, Any]:
    """What Lightning wants: the optimiser, with a learning rate that rises over the first share of all steps."""
    warmup = max(1, round(config.warmup * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
