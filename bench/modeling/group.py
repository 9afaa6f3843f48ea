"""CellGroup: several models of one class that learn from the same batches at once.

They differ in seed and :data:`~bench.core.config.COEFFICIENTS` only. Their parameters lie side by side, [K, …], and
their embedding tables as one table with vectors K times as wide: a batch is gathered and looked up once. On a GPU each
layer is one product for all of them (``torch.func.vmap``); on a CPU, whose caches do not hold the events of all models,
one model comes after the other. Every model learns what it would learn alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from bench.data.batches import Batch, Labels
from bench.modeling.module import FunnelModule, Learned, Learner, optimizer_of, with_warmup
from bench.nn.embedding import EmbeddingTable

#: What one of the models does with what its tables have for a batch.
Run = Callable[[FunnelModule, tuple[Tensor, ...]], Any]


class CellGroup(pl.LightningModule):
    """Trains K models; :meth:`release` gives them back.

    Args:
        models: untrained models, alike but for seed and coefficients, without dropout. They lend their parameters.
    """

    def __init__(self, models: Sequence[FunnelModule]) -> None:
        super().__init__()
        self.models, self.config = tuple(models), models[0].config  # a tuple, so that they are no parts of this module
        self._tables = [_tables(model) for model in models]
        self.wide: Any = nn.ModuleList(_side_by_side([own[path] for own in self._tables]) for path in self._tables[0])
        for path, wide in zip(self._tables[0], self.wide, strict=True):
            models[0].set_submodule(path, wide)
        states = [_dense(model) for model in models]
        self._names = list(states[0])
        self.stacked = nn.ParameterList(
            nn.Parameter(torch.stack([state[name].detach() for state in states]), states[0][name].requires_grad)
            for name in self._names
        )
        self._call = (_Call(models[0]),)
        #: As of a single model.
        self.learner: Learner | None = None

    @property
    def is_batched(self) -> bool:
        """Whether each layer is one product for all models."""
        device: torch.device = self.stacked[0].device
        return device.type != "cpu"

    def train(self, mode: bool = True) -> CellGroup:
        super().train(mode)
        self.models[0].train(mode)
        return self

    def look_up(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the tables have for a batch, with the vectors of all models side by side."""
        found: tuple[Tensor, ...] = self.models[0].inputs.look_up(batch)
        return found

    def each(self, found: tuple[Tensor, ...], run: Run) -> Any:
        """``run`` for every model, on what :meth:`look_up` found: a structure of tensors, each with a first dimension
        of K.
        """
        count = len(self.models)
        own = tuple(torch.unflatten(part, -1, (count, -1)) for part in found)
        parameters = {f"model.{name}": value for name, value in zip(self._names, self.stacked, strict=True)}

        def one(own: dict[str, Tensor], vectors: tuple[Tensor, ...]) -> Any:
            return functional_call(self._call[0], own, (run, vectors))

        if self.is_batched:
            return vmap(one, in_dims=(0, -2), randomness="different")(parameters, own)
        split = {name: value.unbind(0) for name, value in parameters.items()}
        vectors = [part.unbind(-2) for part in own]
        each = [
            one({name: values[place] for name, values in split.items()}, tuple(part[place] for part in vectors))
            for place in range(count)
        ]
        return tree_map(lambda *values: torch.stack(values), *each)

    def release(self, place: int) -> FunnelModule:
        """The trained model of that place, with parameters of its own. The group is not used after it."""
        model = self.models[place]
        for (path, table), wide in zip(self._tables[place].items(), self.wide, strict=True):
            vectors = wide.weight.detach().unflatten(-1, (len(self.models), -1))
            table.weight.data = vectors[:, place].clone()
            model.set_submodule(path, table)
        for name, values in zip(self._names, self.stacked, strict=True):
            owner, _, leaf = name.rpartition(".")
            getattr(model.get_submodule(owner), leaf).data = values.detach()[place].clone()
        return model

    # Lightning

    def training_step(self, batch: Batch, index: int) -> dict[str, Any]:
        """The sum of all losses, and the terms by name, each [K]."""
        loss, terms = (self.learner or self.learn)(batch, self.look_up(batch))
        return {"loss": loss, "terms": terms}

    def learn(self, batch: Batch, found: tuple[Tensor, ...]) -> Learned:
        """As :meth:`FunnelModule.learn`: the sum of all losses, and the terms by name, each [K]."""
        labels = Labels(*batch.labels.unbind(1))

        def run(model: FunnelModule, found: tuple[Tensor, ...]) -> Any:
            terms = model.losses(model.output(batch, found), labels)
            return model.total(terms), terms, dict(model.noted)

        losses, terms, noted = self.each(found, run)
        for place, model in enumerate(self.models):
            model.noted = {name: values[place].detach() for name, values in noted.items()}
        return losses.sum(), {name: term.detach() for name, term in terms.items()}

    def predict_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Probabilities by name, float32 [K, B]."""

        def run(model: FunnelModule, found: tuple[Tensor, ...]) -> Any:
            return {name: value.probability().float() for name, value in model.output(batch, found).present()}

        found: dict[str, Tensor] = self.each(self.look_up(batch), run)
        return found

    def validation_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        return self.predict_step(batch, index)

    def test_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        return self.predict_step(batch, index)

    def configure_optimizers(self) -> Any:
        optimizer = optimizer_of(self.config, self.stacked, [*self.wide])
        return with_warmup(optimizer, self.config, int(self.trainer.estimated_stepping_batches))


class _Call(nn.Module):
    """A model with what to do with it, so that its parameters can be exchanged for the time of that."""

    def __init__(self, model: FunnelModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, run: Run, found: tuple[Tensor, ...]) -> Any:
        return run(self.model, found)


def _tables(model: nn.Module) -> dict[str, EmbeddingTable]:
    return {path: module for path, module in model.named_modules() if isinstance(module, EmbeddingTable)}


def _dense(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, without those of embedding tables."""
    inside = tuple(f"{path}." for path in _tables(model))
    return {
        name: value
        for name, value in (*model.named_parameters(), *model.named_buffers())
        if not name.startswith(inside)
    }


def _side_by_side(tables: Sequence[EmbeddingTable]) -> EmbeddingTable:
    """One table with the vectors of all, which lose theirs."""
    wide = EmbeddingTable(tables[0].rows, sum(table.dim for table in tables), tables[0].std)
    wide.weight.data = torch.cat([table.weight.data for table in tables], dim=1)
    for table in tables:
        table.weight.data = torch.empty(0)
    return wide
