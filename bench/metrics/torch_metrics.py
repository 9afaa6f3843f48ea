"""Torchmetrics classes: they gather rows over batches and processes; the pure functions do the arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from bench.core.record import Metric as MetricValue
from bench.metrics._arrays import Array
from bench.metrics.auc import auc
from bench.metrics.ece import BINS, ece
from bench.metrics.evaluate import METRICS, evaluate
from bench.metrics.gauc import gauc
from bench.metrics.log_loss import log_loss
from bench.metrics.pcoc import pcoc
from bench.metrics.spaces import LABELS

#: Batches that are joined while rows are gathered: small blocks that stay between large ones that go leave holes.
JOINED = 64


class _Rows(Metric):
    """Keeps the rows of all batches, one state per column, joined over processes."""

    full_state_update = False
    is_differentiable = False

    def __init__(self, columns: Iterable[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for column in columns:
            self.add_state(column, default=[], dist_reduce_fx="cat")

    def _append(self, **columns: Tensor) -> None:
        for name, values in columns.items():
            state = getattr(self, name)
            state.append(values.detach().reshape(-1))
            if self.update_count % JOINED == 0:
                state[-JOINED:] = [torch.cat(state[-JOINED:])]

    def _rows(self, name: str) -> Tensor:
        """All that was gathered of a column, [n], where it lies."""
        state: list[Tensor] | Tensor = getattr(self, name)
        if isinstance(state, list):
            if not state:
                return torch.empty(0, dtype=torch.float64)
            if len(state) > 1:  # joined once and for all: batches and their copy never lie in memory together for long
                state[:] = [torch.cat(state)]
            values = state[0]
        else:
            values = state
        return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values

    def _column(self, name: str) -> Array:
        return self._rows(name).cpu().numpy()


class _Binary(_Rows):
    """A metric of scores and 0/1 labels."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(("scores", "labels"), **kwargs)

    def update(self, scores: Tensor, labels: Tensor) -> None:
        self._append(scores=scores, labels=labels)


class AUC(_Binary):
    """See :func:`bench.metrics.auc.auc`."""

    higher_is_better = True

    def compute(self) -> Tensor:
        return _scalar(auc(self._column("scores"), self._column("labels")))


class LogLoss(_Binary):
    """See :func:`bench.metrics.log_loss.log_loss`."""

    higher_is_better = False

    def compute(self) -> Tensor:
        return _scalar(log_loss(self._column("scores"), self._column("labels")))


class ECE(_Binary):
    """See :func:`bench.metrics.ece.ece`."""

    higher_is_better = False

    def __init__(self, bins: int = BINS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins = bins

    def compute(self) -> Tensor:
        return _scalar(ece(self._column("scores"), self._column("labels"), self.bins))


class PCOC(_Binary):
    """See :func:`bench.metrics.pcoc.pcoc`."""

    def compute(self) -> Tensor:
        return _scalar(pcoc(self._column("scores"), self._column("labels")))


class GAUC(_Rows):
    """See :func:`bench.metrics.gauc.gauc`; every user weighs 1."""

    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(("scores", "labels", "users"), **kwargs)

    def update(self, scores: Tensor, labels: Tensor, users: Tensor) -> None:
        self._append(scores=scores, labels=labels, users=users)

    def compute(self) -> Tensor:
        return _scalar(gauc(self._column("scores"), self._column("labels"), self._column("users")))


class FunnelMetrics(_Rows):
    """The metrics of :func:`bench.metrics.evaluate.evaluate` for a model's probabilities, gathered over batches."""

    def __init__(
        self,
        probabilities: Iterable[str] = ("ctr", "ctcvr", "cvr"),
        metrics: Iterable[str] = tuple(METRICS),
        **kwargs: Any,
    ) -> None:
        names = tuple(probabilities)
        super().__init__(("users", *LABELS, *names), **kwargs)
        self.names, self.wanted = names, tuple(metrics)

    def update(self, probabilities: Mapping[str, Tensor], labels: Mapping[str, Tensor], users: Tensor) -> None:
        """Add a batch: ``probabilities`` by name, ``labels`` click, cart, purchase, and ``users``, each [batch]."""
        self._append(
            users=users,
            **{name: labels[name] for name in LABELS},
            **{name: probabilities[name] for name in self.names},
        )

    def probabilities(self) -> dict[str, Array]:
        """What was gathered of each probability, [n]."""
        return {name: self._column(name) for name in self.names}

    def labels(self) -> dict[str, Array]:
        """What was gathered of each label, [n]."""
        return {name: self._column(name) for name in LABELS}

    def not_finite(self) -> list[str]:
        """Which probabilities are not finite in some row; found where they lie."""
        return [name for name in self.names if not self._rows(name).isfinite().all()]

    def results(
        self, truth: Mapping[str, Array] | None = None, metrics: Iterable[str] | None = None
    ) -> dict[str, MetricValue]:
        """Values with their rows, as :func:`bench.metrics.evaluate.evaluate` gives them; some ``metrics`` or all.

        They are computed where the rows lie: on a CUDA device by torch, else by numpy.
        """
        wanted = self.wanted if metrics is None else metrics
        columns: dict[str, Any] = {name: self._rows(name) for name in (*self.names, *LABELS, "users")}
        known: Mapping[str, Any] | None = truth
        if on_cuda(columns.values()):
            device = columns["users"].device
            known = truth and {name: torch.tensor(column, device=device) for name, column in truth.items()}
        else:
            columns = {name: column.cpu().numpy() for name, column in columns.items()}
        probabilities, labels = ({name: columns[name] for name in names} for names in (self.names, LABELS))
        return evaluate(probabilities, labels, columns["users"], known, wanted)

    def compute(self) -> dict[str, Tensor]:
        """Values by ``metric/probability/sample space``; NaN where undefined."""
        return {name: _scalar(float("nan") if m.value is None else m.value) for name, m in self.results().items()}


def on_cuda(columns: Iterable[Tensor]) -> bool:
    """Whether all lie on a CUDA device. (MPS has no float64; a model that was fitted on the host predicts there.)"""
    return all(column.is_cuda for column in columns)


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
