"""What every contestant shares: the table and settings it reads, and the line protocol with ``throughput.py``.

A contestant is a script that runs in a process, and if need be in a Python environment, of its own. It needs numpy
and its library only. ``throughput.py`` starts it with the folder of the table and the setup, and
sends one JSON request per line; one JSON reply comes back for each. Everything else that it prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MODELS = ("mmoe", "shared_bottom")


class Settings(NamedTuple):
    """The same for all contestants; ``hidden``: a bottom or expert has all but the last width, a tower the last."""

    sizes: list[int]
    embedding: int
    hidden: list[int]
    experts: int
    batch: int
    evaluation_batch: int
    learning_rate: float
    setup: str
    device: str = "cpu"

    @property
    def lean(self) -> bool:
        """The same optimiser for all (Adagrad at ``learning_rate``) without regularisation, not the library's own."""
        return self.setup == "lean"

    @property
    def shared(self) -> list[int]:
        return self.hidden[:-1]

    @property
    def tower(self) -> list[int]:
        return self.hidden[-1:]


class Contestant(ABC):
    """One library. Both models are made at the start and keep their weights over all rounds."""

    #: Distribution whose version is reported.
    package: str

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.models: dict[str, Any] = {name: self.build(name) for name in MODELS}

    @abstractmethod
    def build(self, model: str) -> Any:
        """A new model with its optimiser, by a name of :data:`MODELS`."""

    @abstractmethod
    def train(self, model: str, rows: range) -> float:
        """Train on these rows once, shuffled; seconds in the training loop, preparation left out."""

    @abstractmethod
    def evaluate(self, model: str) -> float:
        """Predict all rows and compute exact AUCs; seconds, preparation left out."""

    def features(self, rows: slice = slice(None)) -> dict[str, np.ndarray]:
        """Local ids by field, int32 [rows] each, in memory."""
        ids = np.load(self.folder / "ids.npy", mmap_mode="r")[rows]
        offsets = np.concatenate([[0], np.cumsum(self.settings.sizes)[:-1]]).astype(np.int32)
        columns = np.ascontiguousarray((ids - offsets).T)
        return {f"field{index}": column for index, column in enumerate(columns)}

    def labels(self, rows: slice = slice(None)) -> np.ndarray:
        """Click and click-and-purchase, float32 [rows, 2]."""
        labels = np.load(self.folder / "labels.npy", mmap_mode="r")[rows]
        return labels[:, [0, 3]].astype(np.float32)


class Stopwatch:
    """``with Stopwatch() as watch: …`` and then ``watch.seconds``."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():  # the card may still be at work
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self._start


def serve(contestant_class: type[Contestant]) -> None:
    """Answer requests until stdin ends: ``{"do": "train", "model": …, "first": …, "stop": …}`` and the like.

    The setup of a peer is documented or lean, ours a precision.
    """
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    folder = Path(sys.argv[1])
    stored = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    settings = Settings(**stored, setup=sys.argv[2])
    contestant = contestant_class(folder, settings)
    packages = dict.fromkeys((contestant.package, "torch", "numpy"))
    replies.write(json.dumps({"versions": {name: version(name) for name in packages}}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        action = getattr(contestant, request.pop("do"))
        if "first" in request:
            request["rows"] = range(request.pop("first"), request.pop("stop"))
        replies.write(json.dumps(action(**request)) + "\n")
