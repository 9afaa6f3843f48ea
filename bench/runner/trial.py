"""A model tried out: one cell of a tiny world, from the data to the record, kept nowhere."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.core.config import PRESETS
from bench.core.registry import MODELS
from bench.data.source import SourceOptions
from bench.results.store import Store
from bench.runner import worker
from bench.runner.layout import Layout
from bench.runner.plan import Request, plan
from bench.runner.prepare import encoded_folder, open_source

#: City 6 at a ten-thousandth of its size: 18,400 exposures.
CITY, SCALE = "6", 0.0001


def failure_of(name: str) -> str | None:
    """The traceback of the model of that name where its training fails; None where it succeeds. It takes seconds."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        source = open_source("six_cities", SourceOptions(scale=SCALE))
        request = Request(source, [CITY], {name: MODELS.get(name)}, [PRESETS[source.preset]])
        (cell,) = plan([request], seeds=1).cells
        outside = MODELS.outside(name)
        encoded = encoded_folder(Layout(out), source, CITY)
        worker.run_cell(out, cell, encoded, "off", model_file=outside and outside.path)
        return next((failure.traceback for failure in Store(out).failures()), None)
