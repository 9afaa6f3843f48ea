"""Single measurements of ``gpu.py``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from card import Rows, built, run, wait
from graph import Step
from torch import Tensor

from bench.core.config import Config
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.data.resident import ResidentBatchMaker
from bench.nn.embedding import EmbeddingTable
from bench.nn.fused import FusedTable
from bench.nn.optimisers import AdagradDecay
from bench.training.callbacks import LossCurve, ProgressReport, TrainingClock
from bench.training.recording import Recording
from bench.training.trainer import trainer_of

#: Parameters of the recorded graph and the plain loop that are further apart differ by more than rounding.
FAR = 1e-2
#: What a kernel or operator does, by its name; the first that fits.
KINDS = {
    "products": r"gemm|cutlass|cublas|nvjet|xmma|wgmma|::(add)?mm\b|::(b|badd)bmm|dot",
    "rows": r"index|gather|scatter|embedding",
    "sorting": r"sort|topk|bitonic|radix|scan|cum|kth",
    "copies": r"memcpy|memset|copy|cat",
}


def timed(action: Callable[[], Any], device: torch.device, seconds: float, warm_up: int = 3) -> float:
    """Seconds of one call, over as many as last about so long."""
    for _ in range(warm_up):
        action()
    wait(device)
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(10):
            action()
        wait(device)
        calls += 10
    return (time.perf_counter() - start) / calls


def product_rate(size: int, dtype: torch.dtype, device: torch.device) -> float:
    """Floating-point operations per second of a product of two square matrices, float32 without TF32."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / timed(lambda: torch.mm(a, b), device, 0.3)


def copy_rate(size: int, device: torch.device) -> float:
    """Bytes per second, read and written."""
    a = torch.randn(size, size, device=device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / timed(lambda: b.copy_(a), device, 0.3)


def trained(model: Any, city: EncodedCity, config: Config, device: torch.device, seconds: float) -> float:
    """Samples/s under a trainer, with the callbacks of a cell: a few steps, then as many as last about so long."""
    taken, rows = 0.0, 0
    for steps in (10, max(10, round(seconds / 0.01))):
        steps = min(steps, (city.rows("train").stop) // config.batch_size)
        rows = steps * config.batch_size
        part = replace(city, meta=city.meta.model_copy(update={"splits": city.meta.splits | {"train": (0, rows)}}))
        clock = TrainingClock()
        callbacks = [LossCurve(), Recording(), ProgressReport(lambda stage, done, total: None, rows), clock]
        trainer = trainer_of(callbacks, accelerator=device.type, limit_val_batches=0)
        trainer.fit(model, datamodule=FunnelDataModule(part, config))
        taken = clock.seconds
    return rows / taken


def updates(ids: Tensor, vocabulary: int, seconds: float) -> dict[str, Any]:
    """Microseconds to look up, and to update by the gradient: ours, and FBGEMM's exact Adagrad where installed; how
    far the two tables are apart after the same ten steps.
    """
    gradient = torch.randn(len(ids), 16, device=ids.device, generator=torch.Generator(ids.device).manual_seed(1))
    found: dict[str, Any] = {}
    learned: list[Tensor] = []
    for name in ("ours", "FBGEMM"):
        table = EmbeddingTable(vocabulary, 16).to(ids.device)
        table.reset(torch.Generator(ids.device).manual_seed(0))
        optimizer = AdagradDecay([], [table], lr=0.005)

        def step(table: EmbeddingTable = table, optimizer: AdagradDecay = optimizer) -> None:
            optimizer.zero_grad()
            table(ids).backward(gradient)
            optimizer.step()

        try:
            fuses = name == "FBGEMM"
            state = partial(optimizer.of_next_step, table)
            table.fused = FusedTable(table.weight, optimizer.eps, state) if fuses else None
            for _ in range(10):
                step()
            learned.append(table.weight.detach().clone())
            found[f"{name}, us"] = timed(step, ids.device, seconds) * 1e6
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            found[f"{name}, us"] = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    if len(learned) == 2:
        found["apart"] = (learned[1] - learned[0]).abs().max().item()
    return found


def graph_error(
    model_class: Any, city: EncodedCity, config: Config, maker: ResidentBatchMaker, rows: Rows, record: bool = True
) -> str | None:
    """Why recorded graphs cannot be used: one cannot be recorded, or learns something else than the plain loop."""
    states = []
    for recorded in (False, record):
        module, optimizer = built(model_class, city, config, rows.batches.device)
        step = Step(module, optimizer, maker, rows.batches.shape[1], rows.blocks, recorded)
        try:
            step.warm_up(rows.batches[0])
        except RuntimeError as error:
            return str(error).strip().splitlines()[0]
        for batch in rows.batches[:20]:
            step(batch)
        states.append([value.float() for value in module.state_dict().values()])
    apart = max((a - b).abs().max().item() for a, b in zip(*states, strict=True))
    return None if apart < FAR else f"parameters are apart by {apart:.1e} after 20 steps"


def profiled(step: Step, rows: Rows, steps: int = 10) -> dict[str, Any]:
    """Milliseconds of a step on the host's clock and on the device; shares of the latter by kind; the longest."""
    device = rows.batches.device
    cuda = device.type == "cuda"
    done, seconds = run(step, rows, 0.3)
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU] + [activity.CUDA] * cuda) as measured:
        for index in range(steps):
            step(rows.batches[index % len(rows.batches)])
        wait(device)
    times: dict[str, float] = {}
    for event in measured.key_averages():
        on_device = event.device_type == torch.autograd.DeviceType.CUDA
        if cuda == on_device:
            times[event.key] = times.get(event.key, 0.0) + (
                event.self_device_time_total if cuda else event.self_cpu_time_total
            )
    total = sum(times.values())
    found: dict[str, Any] = {
        "ms a step": seconds / done * 1e3,
        "on the device, ms": total / steps / 1e3,
        "kernels" if cuda else "operators": len(times),
    }
    shares = dict.fromkeys((*KINDS, "other"), 0.0)
    for name, spent in times.items():
        kind = next((kind for kind, pattern in KINDS.items() if re.search(pattern, name, re.IGNORECASE)), "other")
        shares[kind] += spent / total
    longest = sorted(times, key=lambda name: -times[name])[:5]
    found |= {kind: f"{share:.0%}" for kind, share in shares.items()}
    return found | {"longest": "\n".join(f"{times[name] / total:.0%} {name[:50]}" for name in longest)}
