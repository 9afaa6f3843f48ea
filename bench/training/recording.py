"""Recorded steps: on a GPU, what a model does between its tables and its loss, and back, is replayed as a CUDA graph.

The host then starts one graph where it started hundreds of small kernels. Lookups, the updates of tables and the
optimiser stay as they are. A recording is used once it has given, for another batch than it was made with, what the
plain way gives: so ``learn`` must be a function of its arguments and of the parameters.
"""

from __future__ import annotations

import gc
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
#: The batch of a shape that it is recorded with (the next one checks the recording), shapes that are recorded at most,
#: and shapes after which no more are looked for.
SIGHTINGS, SHAPES, MOST_SEEN = 3, 4, 1000
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
        if self.recorder is not None and isinstance(pl_module, FunnelModule | CellGroup):
            pl_module.learner = None
            self.recorder.recordings.clear()
            gc.collect()  # torch holds a recording, and its memory, in cycles

    def notes(self) -> dict[str, str]:
        """What the record says of it."""
        return {} if self.recorder is None else {"cuda_graph": self.recorder.outcome}


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
        #: Steps that were replayed.
        self.replayed = 0
        #: Why nothing is recorded, or no more; None while all goes well.
        self.refused: str | None = "dropout draws anew in every step" if module.config.dropout else None
        self._seen: Counter[Any] = Counter()

    @property
    def outcome(self) -> str:
        """``used``, or why no step was replayed."""
        return "used" if self.replayed else self.refused or "no shape of a batch came often"

    def __call__(self, batch: Batch, found: tuple[Tensor, ...]) -> Learned:
        """The loss and its terms, of which none changes in later steps."""
        leaves, structure = tree_flatten((batch, found))
        shapes = structure, tuple(leaf.shape if isinstance(leaf, Tensor) else leaf for leaf in leaves)
        recording = self.recordings.get(shapes)
        if self.refused is None and (recording is None or not recording.is_checked):
            try:
                recording = self._sighted(shapes, recording, batch, found)
            except _Refusal as refusal:
                self.refused = str(refusal)
                self.recordings.pop(shapes, None)
        if recording is None or not recording.is_checked:
            return self.module.learn(batch, found)
        self.replayed += 1
        return recording(batch, found)

    def _sighted(
        self, shapes: Any, recording: _Recording | None, batch: Batch, found: tuple[Tensor, ...]
    ) -> _Recording | None:
        """The recording for batches of this shape, where there is one now.

        Raises:
            _Refusal: nothing more can be recorded.
        """
        if recording is not None:
            recording.check(batch, found)
        elif len(self.recordings) < SHAPES and len(self._seen) < MOST_SEEN:
            self._seen[shapes] += 1
            if self._seen[shapes] == SIGHTINGS:
                recording = self.recordings[shapes] = _Recording(self.module, batch, found)
        return recording


class _Refusal(Exception):
    """Why nothing is recorded."""


class _Recording:
    """``module.learn`` for batches of one shape.

    Raises:
        _Refusal: it cannot be recorded.
    """

    def __init__(self, module: FunnelModule | CellGroup, batch: Batch, found: tuple[Tensor, ...]) -> None:
        self.is_checked, self._module = False, module
        if reason := asks(module, batch, found):
            raise _Refusal(reason)
        self._part = part = _Flat(module, batch, found)
        samples = [leaf.detach().clone().requires_grad_(leaf.requires_grad) for leaf in _tensors((batch, found))]
        # A loss that somebody keeps would hold nodes of the default stream, and torch would refuse to record.
        torch.autograd.graph.set_override_stale_capture_stream(True)
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        try:
            with torch.cuda.stream(torch.cuda.current_stream()):  # also after a failure
                self._graph: Any = torch.cuda.make_graphed_callables(part, tuple(samples), allow_unused_input=True)
        except (RuntimeError, AssertionError) as error:
            raise _Refusal(f"cannot be recorded: {_first_line(error)}") from None
        finally:
            torch.autograd.graph.set_override_stale_capture_stream(False)

    def check(self, batch: Batch, found: tuple[Tensor, ...]) -> None:
        """Compare with the plain way.

        Raises:
            _Refusal: the two do not learn the same.
        """
        wanted, given = (_gradients(learn, self._module, batch, found) for learn in (self._module.learn, self))
        if not all(_alike(*pair) for pair in zip(given, wanted, strict=True)):
            raise _Refusal("a recording did not learn what the plain way learns")
        self.is_checked = True

    def __call__(self, batch: Batch, found: tuple[Tensor, ...]) -> Learned:
        loss, *others = self._graph(*_tensors((batch, found)))
        own = iter([value.detach().clone() for value in others])  # the graph writes the next step's over them
        terms = {name: next(own) for name in self._part.terms}
        for model, names in zip(_models(self._module), self._part.noted, strict=True):
            model.noted = {name: next(own) for name in names}
        return loss, terms


class _Flat(nn.Module):
    """``module.learn`` with tensors as arguments and as results: what a recording can be made of.

    The results are the loss, its terms, and what the models noted; the names of the latter are kept.
    """

    def __init__(self, module: FunnelModule | CellGroup, batch: Batch, found: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.module: Any = module  # so that its parameters are found
        leaves, self._structure = tree_flatten((batch, found))
        self._leaves = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.terms: list[str] = []
        self.noted: list[list[str]] = []

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        leaves = [next(given) if leaf is None else leaf for leaf in self._leaves]
        loss, terms = self.module.learn(*tree_unflatten(leaves, self._structure))
        noted = [model.noted for model in _models(self.module)]
        self.terms, self.noted = [*terms], [[*own] for own in noted]
        return loss, *terms.values(), *(value for own in noted for value in own.values())


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


def _models(module: FunnelModule | CellGroup) -> tuple[FunnelModule, ...]:
    return module.models if isinstance(module, CellGroup) else (module,)


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
