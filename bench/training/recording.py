"""Recorded steps: on a GPU, what a model does between its tables and its loss, and back, is replayed as a CUDA graph.

The host then starts one graph where it started hundreds of small kernels. Lookups, the updates of tables and the
optimiser stay as they are. A recording is used only after it gave what the plain way gives for the same batch.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from bench.data.batches import Batch
from bench.modeling.group import CellGroup
from bench.modeling.module import FunnelModule, Learned
from bench.nn.distributed import processes

#: Steps below which nothing is recorded: it would not pay.
LEAST_STEPS = 200
#: Batches of one shape after which that shape is recorded, and shapes that are recorded at most.
SIGHTINGS, SHAPES = 3, 4
#: How far, as a share of its norm, a recorded gradient may lie from the plain one: sums in another order differ.
FAR = 0.01


class Recording(pl.Callback):
    """Records the steps of a long enough training on a GPU; :attr:`recorder` tells how that went, None for not at all.

    One process alone: a recording cannot wait for others. ``BENCH_CUDA_GRAPHS=0`` in the environment switches it off.

    Args:
        least: steps below which a training is not long enough.
    """

    def __init__(self, least: int = LEAST_STEPS) -> None:
        self.least = least
        self.recorder: Recorder | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if (
            isinstance(pl_module, FunnelModule | CellGroup)
            and _on_gpu(trainer)
            and processes() == 1
            and os.environ.get("BENCH_CUDA_GRAPHS") != "0"
            and trainer.estimated_stepping_batches >= self.least
        ):
            self.recorder = pl_module.learner = Recorder(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if isinstance(pl_module, FunnelModule | CellGroup):
            pl_module.learner = None
        if self.recorder is not None:
            self.recorder.recordings.clear()  # and the memory that they keep

    def notes(self) -> dict[str, str]:
        """What the record says of it."""
        return {} if self.recorder is None else {"cuda_graph": self.recorder.refused or "used"}


def _on_gpu(trainer: pl.Trainer) -> bool:
    return trainer.strategy.root_device.type == "cuda"


class Recorder:
    """Stands in for ``module.learn``: replays it for shapes of batches that come often, and else runs it.

    Args:
        module: a model or a group of models, on its device.
    """

    def __init__(self, module: FunnelModule | CellGroup) -> None:
        self.module = module
        self.recordings: dict[Any, _Recording] = {}
        #: Why nothing is recorded, or no more; None while all goes well.
        self.refused: str | None = "dropout draws anew in every step" if module.config.dropout else None
        self._seen: Counter[Any] = Counter()

    def __call__(self, batch: Batch, found: tuple[Tensor, ...]) -> Learned:
        """The loss and its terms, of which none changes in later steps."""
        leaves, structure = tree_flatten((batch, found))
        shapes = structure, tuple(leaf.shape if isinstance(leaf, Tensor) else leaf for leaf in leaves)
        recording = self.recordings.get(shapes)
        if recording is None and self.refused is None and len(self.recordings) < SHAPES:
            self._seen[shapes] += 1
            if self._seen[shapes] == SIGHTINGS:
                self.refused, recording = self._recorded(batch, found)
                if recording is not None:
                    self.recordings[shapes] = recording
        return self.module.learn(batch, found) if recording is None else recording(batch, found)

    def _recorded(self, batch: Batch, found: tuple[Tensor, ...]) -> tuple[str | None, _Recording | None]:
        """A recording for batches of this shape; or why there is none."""
        if reason := asks(self.module, batch, found):
            return reason, None
        try:
            recording = _Recording(self.module, batch, found)
            wanted, given = (_gradients(learn, self.module, batch, found) for learn in (self.module.learn, recording))
        except (RuntimeError, AssertionError) as error:
            return f"cannot be recorded: {_first_line(error)}", None
        if not all(_alike(*pair) for pair in zip(given, wanted, strict=True)):
            return "a recording did not learn what the plain way learns", None
        return None, recording


def asks(module: FunnelModule | CellGroup, batch: Batch, found: tuple[Tensor, ...]) -> str | None:
    """Why the step cannot be recorded: it asks the device for a value. Tried on tensors that have none."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        try:
            batch, found = tree_map(
                lambda leaf: mode.from_tensor(leaf.detach()) if isinstance(leaf, Tensor) else leaf, (batch, found)
            )
            _gradients(module.learn, module, batch, found)
        except (RuntimeError, NotImplementedError) as error:
            return f"asks the device for a value: {_first_line(error)}"
    return None


class _Recording:
    """``module.learn`` for batches of one shape."""

    def __init__(self, module: FunnelModule | CellGroup, batch: Batch, found: tuple[Tensor, ...]) -> None:
        part = _Flat(module, batch, found)
        samples = [leaf.detach().clone().requires_grad_(leaf.requires_grad) for leaf in _tensors((batch, found))]
        self._graph: Any = torch.cuda.make_graphed_callables(part, tuple(samples), allow_unused_input=True)
        self._names = part.names

    def __call__(self, batch: Batch, found: tuple[Tensor, ...]) -> Learned:
        loss, terms = self._graph(*_tensors((batch, found)))
        return loss, dict(zip(self._names, terms.detach().clone().unbind(0), strict=True))


class _Flat(nn.Module):
    """``module.learn`` with tensors as arguments and as results: what a recording can be made of."""

    def __init__(self, module: nn.Module, batch: Batch, found: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.module: Any = module  # so that its parameters are found
        leaves, self._structure = tree_flatten((batch, found))
        self._leaves = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.names: list[str] = []

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        given = iter(tensors)
        leaves = [next(given) if leaf is None else leaf for leaf in self._leaves]
        loss, terms = self.module.learn(*tree_unflatten(leaves, self._structure))
        self.names = list(terms)
        return loss, torch.stack(list(terms.values()))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _gradients(learn: Any, module: nn.Module, batch: Batch, found: tuple[Tensor, ...]) -> list[Tensor | None]:
    """The loss, its terms, and the gradients of what was found and of the parameters: those of ``learn``."""
    own = tuple(part.detach().requires_grad_() for part in found)
    loss, terms = learn(batch, own)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [loss.detach(), *terms.values(), *torch.autograd.grad(loss, [*own, *parameters], allow_unused=True)]


def _alike(given: Tensor | None, wanted: Tensor | None) -> bool:
    """Equal but for rounding; None is zero."""
    if given is None or wanted is None:
        other = wanted if given is None else given
        return other is None or not bool(other.any())
    apart = (given.double() - wanted.double()).norm()
    return bool(apart <= FAR * wanted.double().norm() + 1e-9)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
