"""The profile of a step: it trains as a step does, and its parts add up."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

SAME = """
import sys, torch
sys.path.insert(0, {path!r})
from pathlib import Path
from step import _step
from city import make_city
from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.datamodule import FunnelDataModule
from bench.modeling.inputs import InputShape

city, config = make_city(Path({folder!r}) / "city", 0.0001, 1), Config(batch_size=256, precision="float32")
stepped, plain = (MODELS.get("esmm")(config, InputShape.of(city, config)) for _ in range(2))
optimizer, batches = stepped.optimizer(), iter(FunnelDataModule(city, config).train_dataloader())
for _ in range(3):
    list(_step(stepped, optimizer, batches))
optimizer, batches = plain.optimizer(), iter(FunnelDataModule(city, config).train_dataloader())
for index in range(3):
    plain.training_step(next(batches), index)["loss"].backward()
    optimizer.step()
    optimizer.zero_grad()
ours, theirs = (dict(model.named_parameters()) for model in (stepped, plain))
print(max((ours[name] - theirs[name]).abs().max().item() for name in ours))
"""


def test_a_step_in_parts_is_a_step(tmp_path: Path) -> None:
    code = SAME.format(path=str(BENCHMARKS), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-7


def test_parts_add_up_to_the_step() -> None:
    options = ("--models", "esmm", "--steps", "2", "--rounds", "1", "--scale", "0.0001", "--threads", "1")
    command = [sys.executable, str(BENCHMARKS / "step.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for table in done.stdout.split("ms, of a step")[1:]:
        values = [float(found) for found in re.findall(r"│ +(-?\d+\.\d+) +-?\d+% │", table)]
        *parts, whole, _ = values
        assert len(values) == 10
        assert abs(sum(parts) - whole) < 0.05
