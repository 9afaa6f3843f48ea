"""What every model returns: probabilities of the funnel's steps, by name, in log space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from bench.nn.funnel import LogProb


class FunnelOutput(NamedTuple):
    """Probabilities per row [B]; None for a step that the model lacks.

    ``ctr`` = P(click | exposure), ``cvr`` = P(purchase | click), ``car`` = P(action | click),
    ``ctcvr`` = P(click and purchase | exposure), ``ctcar`` = P(click and action | exposure); the action is a cart
    unless the knob ``action`` says otherwise.
    ``imputed`` is no probability: the CVR loss [B] that a row would have, where a model estimates it (ESCM²-DR).
    """

    ctr: LogProb
    cvr: LogProb
    ctcvr: LogProb
    car: LogProb | None = None
    ctcar: LogProb | None = None
    imputed: Tensor | None = None

    def present(self) -> Iterator[tuple[str, LogProb]]:
        """(name, probability) of the steps that the model has."""
        return ((name, value) for name, value in self._asdict().items() if isinstance(value, LogProb))
