"""MMoE and Shared-Bottom on the card, ours and that of the libraries of ``throughput.py``, at its setting."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from card import built, makers_of, run
from card_parts import trained
from graph import Step
from process import Gone, Process
from table import SIZES, write_table

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.encoded import EncodedCity

NAMES = ("mmoe", "shared_bottom")
PEERS = {"rechub": "torch-rechub", "deepctr": "DeepCTR-Torch", "fuxi": "FuxiCTR", "mtreclib": "MTReclib-style"}


def against_peers(
    pythons: Sequence[str], size: int, device: torch.device, seconds: float, record: bool
) -> Iterator[dict[str, Any]]:
    """Samples/s at one batch size, as their own examples set the libraries up. Ours by the trainer, to which they are
    compared, and, with ``record``, as a CUDA graph.
    """
    count = max(5, round(seconds / 0.02)) * size
    config = Config(embedding_dim=16, hidden=(256, 128, 64), experts=4, din_length=0, eta_length=0, batch_size=size)
    settings: dict[str, Any] = {
        "sizes": [*SIZES], "embedding": config.embedding_dim, "hidden": [*config.hidden], "experts": config.experts,
        "batch": size, "evaluation_batch": size, "learning_rate": config.learning_rate,
    }  # fmt: skip
    if device.type != "cpu":
        settings["device"] = str(device)
    with tempfile.TemporaryDirectory(prefix="card-") as name:
        folder = Path(name)
        write_table(folder, count)
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        city = EncodedCity.load(folder)
        ours = {}
        for model in NAMES:
            module, _ = built(MODELS.get(model), city, config, device)
            ours[model] = trained(module, city, config, device, seconds)
        yield {"contestant": "ours", "batch": size} | ours
        if record:
            maker, rows = makers_of(city, config, device, [size])[size]
            graphs = {}
            for model in NAMES:
                step = Step(*built(MODELS.get(model), city, config, device), maker, size, rows.blocks, record=True)
                step.warm_up(rows.batches[0])
                done, taken = run(step, rows, seconds)
                graphs[model] = done * size / taken
            yield {"contestant": "ours, graph", "batch": size} | graphs
        for script, title in PEERS.items():
            yield {"contestant": title, "batch": size} | _peer(script, pythons, folder, count, size, ours)


def _peer(
    script: str, pythons: Sequence[str], folder: Path, count: int, size: int, ours: dict[str, float]
) -> dict[str, Any]:
    """Samples/s by model and ours over them, in the first environment that has the library; or why there is none."""
    found: dict[str, Any] = {}
    for python in pythons or [sys.executable]:
        try:
            process = Process(script, "documented", python, folder, torch.get_num_threads())
            try:
                for model in NAMES:
                    process.ask("train", model=model, first=0, stop=min(count, 3 * size))
                    found[model] = count / process.ask("train", model=model, first=0, stop=count)
                    found[f"ours / it, {model}"] = ours[model] / found[model]
            finally:
                process.close()
            return found
        except Gone as gone:
            found["absent"] = str(gone)
    return found
