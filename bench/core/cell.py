"""The cell: the unit that is trained, stored, and skipped when done."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from bench.core.config import Config, variant

#: Raise it when stored cells of an older version must not be mixed with new ones.
SCHEMA_VERSION = 4


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, NaN refused. Equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """The first 128 bits of the sha256 of canonical JSON, in hexadecimal (32 characters)."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:32]


class Cell(BaseModel):
    """One (dataset, city, model, configuration, seed). ``test=False`` marks a trial that never opens test.

    ``code`` tells versions of a model file outside the project apart (the start of its sha256); none for other models.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    fingerprint: str
    city: str
    model: str
    config: Config
    seed: int
    test: bool = True
    code: str = ""

    @property
    def key(self) -> str:
        """Folder name and W&B run id: a hash of everything that decides the result."""
        return digest({"schema": SCHEMA_VERSION, **self.model_dump(mode="json")})

    @property
    def title(self) -> str:
        """What people call it, with the knobs that differ from the preset."""
        knobs = variant(self.config)[1]
        return f"{self.dataset}/{self.city} {self.model} seed {self.seed}{f' ({knobs})' if knobs else ''}"
