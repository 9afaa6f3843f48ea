"""Recorded steps against plain ones. Without a CUDA device a tape of operators stands in for a CUDA graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.record import Record
from bench.core.registry import MODELS
from bench.data.batches import Batch
from bench.data.encoded import EncodedCity
from bench.data.resident import ResidentBatchMaker, ResidentCity
from bench.modeling.fitted import FittedModule
from bench.modeling.group import CellGroup
from bench.modeling.inputs import InputShape
from bench.modeling.module import optimizer_of
from bench.training import recording
from bench.training.recording import SIGHTINGS, Recorder, Recording
from bench.training.train import train_cell

CONFIG = Config(embedding_dim=4, hidden=(8, 4), eta_length=30, eta_top_k=10, batch_size=64, precision="float32")
#: Their second estimator reads the clicked rows alone, and so must learn how many those are.
ASKING = ("dnn", "dnn_os")
NEURAL = [name for name, model in MODELS.all().items() if not issubclass(model, FittedModule)]
NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


class Tape(TorchDispatchMode):
    """Operators as they were called; :meth:`replay` calls them again, on the same tensors and into the same tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, out in self.calls:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                    old.copy_(new)


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> list[Tape]:
    """All graphs that are recorded from here on, forward and backward: on the CPU, as tapes."""
    made: list[Tape] = []

    def graph() -> Tape:
        made.append(Tape())
        return made[-1]

    monkeypatch.setattr("torch.cuda.CUDAGraph", graph)
    monkeypatch.setattr("torch.cuda.graph", lambda tape, pool: tape)
    monkeypatch.setattr("torch.cuda.graphs.graph_pool_handle", lambda: None)
    monkeypatch.setattr("torch.cuda.synchronize", lambda: None)
    monkeypatch.setattr("torch.cuda.Stream", lambda: None)
    monkeypatch.setattr("torch.cuda.stream", contextlib.nullcontext)
    monkeypatch.setattr("torch.cuda.current_stream", lambda: None)
    monkeypatch.setattr("torch.cuda.graphs.CUDAGraph", graph)
    return made


def batches(city: EncodedCity, device: torch.device, steps: int = 8) -> Iterator[Batch]:
    """Batches made where the city lies, the last one short."""
    maker = ResidentBatchMaker(city, 30, resident=ResidentCity(city, None, device))
    order = np.random.default_rng(0).permutation(600)
    for step in range(steps):
        rows = np.sort(order[step * 64 : (step + 1) * 64 if step < steps - 1 else step * 64 + 20])
        yield maker.gather(torch.from_numpy(rows).to(device), 64)


def trained(
    name: str, city: EncodedCity, config: Config = CONFIG, cells: int = 1, record: bool = True, device: str = "cpu"
) -> tuple[dict[str, Tensor], list[dict[str, Tensor]], Recorder]:
    """Parameters after some steps, the terms of each step with what the models noted, and what recorded."""
    models = [MODELS.get(name)(config, InputShape.of(city, config), seed) for seed in range(cells)]
    module: Any = (models[0] if cells == 1 else CellGroup(models)).to(device).train()
    optimizer = module.optimizer() if cells == 1 else optimizer_of(config, module.stacked, [*module.wide])
    recorder = Recorder(module)
    module.learner = recorder if record else None
    terms = []
    for index, batch in enumerate(batches(city, torch.device(device))):
        found = module.training_step(batch, index)
        optimizer.zero_grad()
        found.pop("loss").backward()
        optimizer.step()
        noted = {
            f"{name} of {place}": value for place, model in enumerate(models) for name, value in model.noted.items()
        }
        terms.append(found["terms"] | noted)
    return {name: value.clone() for name, value in module.state_dict().items()}, terms, recorder


def check(first: Any, second: Any, rtol: float = 1e-6, atol: float = 1e-8) -> None:
    torch.testing.assert_close(first[0], second[0], rtol=rtol, atol=atol)
    torch.testing.assert_close(first[1], second[1], rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", [name for name in NEURAL if name not in ASKING])
def test_recorded_steps_are_plain_steps(name: str, city: EncodedCity, tapes: list[Tape]) -> None:
    """Also the terms of earlier steps, and the last batch, which is shorter than what was recorded."""
    recorded, plain = trained(name, city), trained(name, city, record=False)
    assert recorded[2].outcome == "used" and recorded[2].refused is None and len(recorded[2].recordings) == 1
    assert recorded[2].replayed == 8 - SIGHTINGS - 1
    assert len(tapes) == 2 and all(tape.calls for tape in tapes)
    check(recorded, plain)
    assert len({float(terms["ctr"]) for terms in recorded[1]}) == 8


@pytest.mark.parametrize(
    "changes",
    [{"optimizer": "adam"}, {"task_weighting": "uncertainty"}, {"item_dim": 8}, {"din_length": 0, "eta_length": 0}],
)
def test_with_other_knobs(changes: dict[str, Any], city: EncodedCity, tapes: list[Tape]) -> None:
    config = CONFIG.model_copy(update=changes)
    recorded = trained("esmc", city, config)
    assert len(recorded[2].recordings) == 1
    check(recorded, trained("esmc", city, config, record=False))


@pytest.mark.parametrize("batched", [False, True])
def test_of_cells_at_once(city: EncodedCity, tapes: list[Tape], monkeypatch: pytest.MonkeyPatch, batched: bool) -> None:
    monkeypatch.setattr(CellGroup, "is_batched", batched)
    recorded = trained("esmc", city, cells=3)
    assert len(recorded[2].recordings) == 1 and recorded[1][0]["ctr"].shape == (3,)
    check(recorded, trained("esmc", city, cells=3, record=False))


@pytest.mark.parametrize("name", ASKING)
def test_a_step_that_asks_for_a_value_is_not_recorded(name: str, city: EncodedCity, tapes: list[Tape]) -> None:
    """The same batch again and again: of others, the clicked rows seldom make up a shape that was there before."""
    module: Any = MODELS.get(name)(CONFIG, InputShape.of(city)).train()
    recorder, batch = Recorder(module), next(batches(city, torch.device("cpu")))
    for _ in range(SIGHTINGS + 1):
        loss, terms = recorder(batch, module.inputs.look_up(batch))
    assert str(recorder.refused).startswith("asks the device for a value") and not tapes
    wanted, plain = module.learn(batch, module.inputs.look_up(batch))
    check((loss, terms), (wanted, plain))
    check(trained(name, city), trained(name, city, record=False))


def test_dropout_is_not_recorded(city: EncodedCity, tapes: list[Tape]) -> None:
    assert "dropout" in str(trained("esmm", city, CONFIG.model_copy(update={"dropout": 0.2}))[2].refused)
    assert not tapes


def test_a_recording_that_learns_something_else_is_not_used(
    city: EncodedCity, tapes: list[Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph whose loss and gradients lie 3 % off."""
    genuine = torch.cuda.make_graphed_callables

    def wrong(*arguments: Any, **options: Any) -> Callable[..., Any]:
        graphed: Any = genuine(*arguments, **options)
        return lambda *tensors: [value * 1.03 for value in graphed(*tensors)[:1]] + [*graphed(*tensors)[1:]]

    monkeypatch.setattr("torch.cuda.make_graphed_callables", wrong)
    recorded = trained("mmoe", city)
    assert "did not learn" in str(recorded[2].refused) and not recorded[2].recordings
    check(recorded, trained("mmoe", city, record=False))


def test_what_is_not_an_argument_is_found_out(
    city: EncodedCity, tapes: list[Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose loss hangs on a counter of its own: a recording keeps the number that it was made with."""

    class Counting(MODELS.get("esmm")):  # type: ignore[misc]
        calls = 0

        def losses(self, output: Any, labels: Any) -> dict[str, Tensor]:
            self.calls += 1
            return {name: term * self.calls for name, term in super().losses(output, labels).items()}

    monkeypatch.setattr(MODELS, "get", lambda name: Counting)
    recorded = trained("esmm", city)
    assert "did not learn" in recorded[2].outcome and len(tapes) == 2


def test_what_cannot_be_recorded_runs_as_before(
    city: EncodedCity, tapes: list[Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr("torch.cuda.make_graphed_callables", fails)
    recorded = trained("esmm", city)
    assert recorded[2].refused == ("cannot be recorded: CUDA error: operation not permitted when stream is capturing")
    check(recorded, trained("esmm", city, record=False))


def test_shapes_that_come_seldom_are_not_recorded(city: EncodedCity, tapes: list[Tape]) -> None:
    module = MODELS.get("esmm")(CONFIG, InputShape.of(city)).train()
    recorder = Recorder(module)
    maker = ResidentBatchMaker(city, 30, resident=ResidentCity(city, None, torch.device("cpu")))
    for size in range(20, 30):
        for _ in range(SIGHTINGS - 1):
            batch = maker.gather(torch.arange(size), 40)
            recorder(batch, module.inputs.look_up(batch))
    assert not tapes and recorder.outcome == "no shape of a batch came often"
    for size in range(20, 30):
        batch = maker.gather(torch.arange(size), 40)
        recorder(batch, module.inputs.look_up(batch))
    assert len(recorder.recordings) == recording.SHAPES


def record_of(city: EncodedCity, folder: Path, model: str) -> Record:
    folder.mkdir()
    cell = Cell(dataset="toy", fingerprint="toy", city="1", model=model, config=CONFIG, seed=0)
    return train_cell(cell, city, folder)


@pytest.mark.parametrize("model", ["esmc", "gbdt"])
def test_a_cell_learns_the_same(
    city: EncodedCity, tmp_path: Path, tapes: list[Tape], monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """The whole of it: batches made where the city lies, the loss curve, the record's note; nothing is kept."""
    monkeypatch.setattr(
        "bench.data.datamodule.resident", lambda city, numbers, device: ResidentCity(city, numbers, device)
    )
    plain = record_of(city, tmp_path / "plain", model)
    monkeypatch.setattr(recording, "_on_gpu", lambda trainer: True)
    short = record_of(city, tmp_path / "short", model)
    assert "cuda_graph" not in plain.notes | short.notes
    monkeypatch.setattr("bench.training.train.Recording", lambda: Recording(least=10))
    monkeypatch.setenv("BENCH_CUDA_GRAPHS", "0")
    assert "cuda_graph" not in record_of(city, tmp_path / "off", model).notes and not tapes
    monkeypatch.delenv("BENCH_CUDA_GRAPHS")
    recorded = record_of(city, tmp_path / "recorded", model)
    assert recorded.notes.get("cuda_graph") == ("used" if model == "esmc" else None)
    assert bool(tapes) == (model == "esmc")
    for mine, other in zip(recorded.curve, plain.curve, strict=True):
        assert mine.losses == pytest.approx(other.losses, rel=1e-5)
    for name, metric in plain.metrics["test"].items():
        assert recorded.metrics["test"][name].value == pytest.approx(metric.value, rel=1e-4, nan_ok=True), name


@pytest.mark.gpu
@NO_CUDA
@pytest.mark.parametrize("name", NEURAL)
def test_cuda_graphs_learn_what_plain_steps_learn(name: str, city: EncodedCity) -> None:
    recorded, plain = trained(name, city, device="cuda"), trained(name, city, record=False, device="cuda")
    assert len(recorded[2].recordings) == (name not in ASKING), recorded[2].refused
    check(recorded, plain, rtol=1e-3, atol=1e-5)


@pytest.mark.gpu
@NO_CUDA
def test_cuda_graphs_of_cells_at_once(city: EncodedCity) -> None:
    recorded = trained("esmc", city, cells=3, device="cuda")
    assert len(recorded[2].recordings) == 1, recorded[2].refused
    check(recorded, trained("esmc", city, cells=3, record=False, device="cuda"), rtol=1e-3, atol=1e-5)
