"""No model's training step asks the device for a value: the host never waits, and a CUDA graph can hold the step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.encoded import EncodedCity
from bench.data.resident import ResidentBatchMaker, ResidentCity
from bench.modeling.fitted import FittedModule
from bench.modeling.group import CellGroup
from bench.modeling.inputs import InputShape
from bench.modeling.module import optimizer_of

META = torch.device("meta")
CONFIG = Config(embedding_dim=4, hidden=(8, 4), eta_length=30, eta_top_k=10)
#: Their second estimator reads the clicked rows alone, and so must learn how many those are.
ASKING = ("dnn", "dnn_os")
NEURAL = [name for name, model in MODELS.all().items() if not issubclass(model, FittedModule)]


def step(name: str, city: EncodedCity, config: Config, cells: int = 1) -> None:
    """One step on tensors of the device ``meta``, which have no values: what needs one raises."""
    models = [MODELS.get(name)(config, InputShape.of(city, config), seed) for seed in range(cells)]
    module: Any = models[0].to(META) if cells == 1 else CellGroup(models).to(META)
    optimizer = module.optimizer() if cells == 1 else optimizer_of(config, module.stacked, [*module.wide])
    maker = ResidentBatchMaker(city, 30, resident=ResidentCity(city, None, META))
    optimizer.zero_grad()
    module.training_step(maker.gather(torch.zeros(64, dtype=torch.int64, device=META), 20), 0)["loss"].backward()
    optimizer.step()


@pytest.mark.parametrize("name", [name for name in NEURAL if name not in ASKING])
def test_a_step_asks_for_no_value(name: str, city: EncodedCity) -> None:
    step(name, city, CONFIG)


@pytest.mark.parametrize("changes", [{"optimizer": "adam"}, {"task_weighting": "uncertainty"}, {"item_dim": 8}])
def test_with_other_knobs(changes: dict[str, Any], city: EncodedCity) -> None:
    step("esmc", city, CONFIG.model_copy(update=changes))


def test_of_cells_at_once(city: EncodedCity) -> None:
    step("esmc", city, CONFIG, cells=3)


@pytest.mark.parametrize("name", ASKING)
def test_what_asks_for_a_value_would_show(name: str, city: EncodedCity) -> None:
    with pytest.raises(NotImplementedError, match="nonzero"):
        step(name, city, CONFIG)
