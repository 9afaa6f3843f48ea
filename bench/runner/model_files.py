"""Models from files outside the project: what one must have, told before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from bench.core.config import MODEL_KNOBS
from bench.core.registry import MODELS
from bench.data.tables import FACTS


def add_model_file(path: Path, code: str | None = None) -> str:
    """Make the model of a file known; returns its name, which is the file's.

    Args:
        code: the version of the file that is wanted (``Cell.code``); None for any.

    Raises:
        UserError: the file cannot be used, is of another version, or its model lacks what a model must have.
    """
    return MODELS.add_file(path, code, _fault)


def _fault(model: Any) -> str | None:
    """What keeps a model from being trained, as far as it shows without building it."""
    wanted = "needs", "knobs", "notes"
    if not (isinstance(model, type) and issubclass(model, pl.LightningModule)) or not all(
        hasattr(model, name) for name in wanted
    ):
        return "must be a class that extends FunnelModule; import it from bench.modeling.module"
    missing = [name for name in dir(model) if getattr(getattr(model, name, None), "__isabstractmethod__", False)]
    if missing:
        return f"must implement {' and '.join(missing)}; add {'it' if len(missing) == 1 else 'them'} to the class"
    if not isinstance(getattr(model, "title", None), str):
        return 'must have a title; add title = "…" to the class'
    for name, known in (("needs", FACTS), ("knobs", MODEL_KNOBS)):
        given = getattr(model, name)
        if not isinstance(given, tuple | list):
            return f"must have a tuple of names in {name}, but has {given!r}; write for example ({known[0]!r},)"
        for each in given:
            if each not in known:
                return f"must have in {name} some of {', '.join(known)}, but has {each!r}; take it out"
    return None
