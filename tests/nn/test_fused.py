"""FBGEMM's update in backward against the update of touched rows in the optimiser's step."""

from __future__ import annotations

import builtins
import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.nn import fused as module
from bench.nn.embedding import EmbeddingTable
from bench.nn.fused import FusedTable, fused
from bench.nn.optimisers import AdagradDecay, Adam

try:
    import fbgemm_gpu

    KERNELS = {"cpu", "cuda"} if fbgemm_gpu.__variant__ != "cpu" else {"cpu"}
except (ImportError, OSError):
    KERNELS = set()

INSTALLED = pytest.mark.skipif(not KERNELS, reason="FBGEMM is not installed")
ON_CUDA = pytest.mark.skipif(
    "cuda" not in KERNELS or not torch.cuda.is_available(), reason="there is no CUDA device, or no FBGEMM for it"
)
DEVICES = [pytest.param("cpu", marks=INSTALLED), pytest.param("cuda", marks=[pytest.mark.gpu, ON_CUDA])]
ROWS, DIM, STEPS = 60, 8, 20
WEIGHT = torch.zeros(ROWS, DIM)


def state() -> tuple[Tensor, float]:
    return torch.zeros(ROWS, DIM), 0.1


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU tensors stand for CUDA's."""
    monkeypatch.setattr(module, "DEVICES", ("cpu", "cuda"))


def table_on(device: str) -> EmbeddingTable:
    table = EmbeddingTable(ROWS, DIM, std=0.5)
    table.reset(torch.Generator().manual_seed(1))
    return table.to(device)


def step_of(table: EmbeddingTable, optimizer: AdagradDecay, number: int) -> None:
    """Two parts with many equal ids among the first 40; gradients of which none is another's multiple."""
    generator = torch.Generator().manual_seed(number)
    parts = [torch.randint(0, 40, shape, generator=generator) for shape in ((7, 30), (90,))]
    factors = torch.randn(300, DIM, generator=generator).to(table.weight.device)
    optimizer.zero_grad()
    found = table.look_up([part.to(table.weight.device) for part in parts])
    assert [vectors.shape for vectors in found] == [(7, 30, DIM), (90, DIM)]
    (torch.cat([vectors.reshape(-1, DIM) for vectors in found]) * factors).tanh().sum().backward()
    optimizer.step()


def learned(device: str, is_fused: bool, **options: Any) -> tuple[EmbeddingTable, AdagradDecay]:
    """After all steps, in which the learning rate rises and falls."""
    table = table_on(device)
    optimizer = AdagradDecay([], [table], lr=0.1, **options)
    assert optimizer.is_fused
    if not is_fused:
        table.fused = None
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step + 1, 2 * STEPS - step) / STEPS)
    for number in range(STEPS):
        step_of(table, optimizer, number)
        schedule.step()
    assert (table.fused is not None) == is_fused and table.touched is None
    return table, optimizer


def assert_alike(found: tuple[EmbeddingTable, AdagradDecay], wanted: tuple[EmbeddingTable, AdagradDecay]) -> None:
    (weight, own), (other, theirs) = (
        (table.weight, optimizer.state[table.weight]) for table, optimizer in (found, wanted)
    )
    near = {"rtol": 1e-4, "atol": 1e-5} if weight.is_cuda else {"rtol": 1e-5, "atol": 2e-6}  # sums in any order
    torch.testing.assert_close(weight.detach(), other.detach(), **near)
    torch.testing.assert_close(own["accumulator"], theirs["accumulator"], **near)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("start", [0.0, 0.1])
def test_it_learns_what_the_step_learns(device: str, start: float) -> None:
    found = learned(device, True, initial_accumulator=start)
    assert_alike(found, learned(device, False, initial_accumulator=start))
    table, optimizer = found
    assert torch.equal(table.weight[40:], table_on(device).weight[40:])
    assert (optimizer.state[table.weight]["accumulator"][40:] == start).all()
    assert not torch.equal(table.weight[:40], table_on(device).weight[:40])


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("device", DEVICES)
def test_the_accumulator_decays_before_the_same_steps(device: str) -> None:
    options = {"initial_accumulator": 0.1, "period": 3, "decay": 0.5}
    found = learned(device, True, **options)
    assert_alike(found, learned(device, False, **options))
    without = learned(device, True, initial_accumulator=0.1)
    assert (found[0].weight - without[0].weight).abs().max() > 0.01


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("device", DEVICES)
def test_weights_and_state_stay_where_they_are(device: str) -> None:
    """FBGEMM has no tensors of its own and is no part of the model."""
    table = table_on(device)
    places = [*table.state_dict()], [name for name, _ in table.named_parameters()], table.weight.data_ptr()
    optimizer = AdagradDecay([], [table], lr=0.1)
    accumulator = optimizer.state[table.weight]["accumulator"]
    assert isinstance(table.fused, FusedTable)
    for value in (*table.fused._lookup.parameters(), *table.fused._lookup.buffers()):
        assert value.numel() < 10 or value.data_ptr() in (table.weight.data_ptr(), accumulator.data_ptr())
    step_of(table, optimizer, 0)
    assert places == ([*table.state_dict()], [name for name, _ in table.named_parameters()], table.weight.data_ptr())
    assert not torch.equal(table.state_dict()["weight"], table_on(device).weight)
    assert optimizer.state[table.weight]["accumulator"] is accumulator and accumulator.any()
    looked = table.eval()(torch.arange(ROWS, device=device))
    assert torch.equal(looked, table.weight) and not looked.requires_grad


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("device", DEVICES)
def test_state_that_is_loaded_is_used(device: str) -> None:
    """Also by the next lookup, since a loaded state lies elsewhere."""
    table, optimizer = learned(device, True)
    other = table_on(device)
    loaded = AdagradDecay([], [other], lr=0.1)
    other.load_state_dict(table.state_dict())
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each in ((table, optimizer), (other, loaded)):
        step_of(*each, STEPS)
    assert torch.equal(table.weight, other.weight)


@INSTALLED
@pytest.mark.usefixtures("everywhere")
def test_a_table_that_is_moved_is_fused_no_longer_and_goes_on_learning() -> None:
    """Lightning moves models to the CPU when training is over: FBGEMM's table goes at once."""
    wanted = learned("cpu", True)
    table = table_on("cpu")
    optimizer = AdagradDecay([], [table], lr=0.1)
    gone = weakref.ref(table.fused)
    gc.disable()
    try:
        table.to("cpu")
        assert table.fused is None and gone() is None
    finally:
        gc.enable()
    step_of(table, optimizer, 0)
    assert not torch.equal(table.weight, table_on("cpu").weight)
    assert isinstance(wanted[0].fused, FusedTable)
    Adam([], [wanted[0]])
    assert wanted[0].fused is None


@INSTALLED
@pytest.mark.usefixtures("everywhere")
def test_one_lookup_a_step() -> None:
    table = table_on("cpu")
    optimizer = AdagradDecay([], [table], lr=0.1)
    first, second = table(torch.tensor([1, 2])), table(torch.tensor([1, 3]))
    with pytest.raises(RuntimeError, match="one lookup a step"):
        first.sum().backward()
    assert torch.equal(table.weight, table_on("cpu").weight)
    second.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one lookup a step"):
        second.sum().backward()
    with pytest.raises(RuntimeError, match="one lookup a step"):
        table(torch.tensor([4]))
    optimizer.step()
    table(torch.tensor([4])).sum().backward()
    optimizer.zero_grad()
    assert table(torch.tensor([5, 6])).shape == (2, DIM)
    assert (table.weight != table_on("cpu").weight).any(1).nonzero().flatten().tolist() == [1, 3, 4]


@INSTALLED
@pytest.mark.usefixtures("everywhere")
def test_lightnings_order_of_calls() -> None:
    """Forward, zero_grad, backward inside of step."""
    table = table_on("cpu")
    optimizer = AdagradDecay([], [table], lr=0.1)

    def closure() -> Tensor:
        loss = table(torch.tensor([[1, 2]])).sum()
        optimizer.zero_grad()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    moved = table_on("cpu").weight - table.weight
    torch.testing.assert_close(moved[1:3], torch.full((2, DIM), 0.1 + 0.1 / 2**0.5))


# Where it is not used


def refuse_imports(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> list[str]:
    """Importing FBGEMM raises; the names that were asked for."""
    asked: list[str] = []
    real: Callable[..., Any] = builtins.__import__

    def stand_in(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("fbgemm_gpu"):
            asked.append(name)
            raise error(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", stand_in)
    return asked


def test_on_a_cpu_it_is_not_even_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = refuse_imports(monkeypatch, ImportError)
    assert fused(WEIGHT, 1e-10, state) is None
    assert asked == [] and not AdagradDecay([], [table_on("cpu")]).is_fused


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("error", [ImportError, ModuleNotFoundError, OSError])
def test_without_fbgemm(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    asked = refuse_imports(monkeypatch, error)
    assert fused(WEIGHT, 1e-10, state) is None
    assert asked == ["fbgemm_gpu"]
    table = table_on("cpu")
    optimizer = AdagradDecay([], [table], lr=0.1)
    step_of(table, optimizer, 0)
    assert not optimizer.is_fused and not torch.equal(table.weight, table_on("cpu").weight)


@INSTALLED
@pytest.mark.usefixtures("everywhere")
def test_widths_and_processes_that_it_has_nothing_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = {width: AdagradDecay([], [EmbeddingTable(3, width)]).is_fused for width in (4, 6, 1024, 1028)}
    assert fits == {4: True, 6: False, 1024: True, 1028: False}
    assert fused(WEIGHT, 1e-10, state) is not None
    monkeypatch.setattr(module, "processes", lambda: 2)
    assert fused(WEIGHT, 1e-10, state) is None


@INSTALLED
def test_a_build_for_cpus_is_refused_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fbgemm_gpu.__variant__", "cpu")
    weight = torch.zeros(3, 4)

    class OnCuda:
        device, shape = torch.device("cuda"), weight.shape

    with pytest.raises(ImportError, match="no kernels"):
        FusedTable(OnCuda(), 1e-10, state)  # type: ignore[arg-type]
    assert fused(OnCuda(), 1e-10, state) is None  # type: ignore[arg-type]
