"""benchmarks/gpu.py: every part on tiny sizes on the CPU, and what it says without a GPU. Nothing here is timed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.encoded import EncodedCity

FOLDER = Path(__file__).parents[2] / "benchmarks"
SMALL = ["--device", "cpu", "--city-rows", "1024", "--rows", "1000", "--batch", "64", "--slice", "0.01"]
CPU = torch.device("cpu")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of benchmarks/, which is no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_every_part_fills_its_table(load: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "gpu.json"
    options = ["--models", "mmoe", "--focus", "esmm", "--cells", "2", "--parts", "models,cells,projection"]
    load("gpu").main([*SMALL, *options, "--json", str(path)])
    stored = json.loads(path.read_text())
    parts = stored["parts"]
    (model,) = parts["models"]
    assert (model["model"], model["batch"]) == ("mmoe", 64) and model["trainer"] > 0 and model["loop"] > 0
    (cells,) = parts["cells"]
    assert cells["ratio"] == pytest.approx(cells["2 at once"] / cells["one"])
    assert cells["of 3 x"] == pytest.approx(cells["ratio"] / 3)
    (projected,) = parts["projection"]
    assert projected["rows"] == 1024 and projected["way"] == "loop"  # whole batches, at least as many as asked for
    assert projected["City 1, hours"] == pytest.approx(1_004_000_000 / projected["samples/s"] / 3600)
    assert 0 < projected["mean loss"] < 3
    printed = capsys.readouterr().out
    assert "recorded graph: no CUDA" in printed and "projection" in printed and stored["machine"] in printed


def test_parts_whose_time_is_over_are_named(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    load("gpu").main([*SMALL, "--seconds", "0", "--parts", "profile"])
    assert "profile: the time is over" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    load("gpu").main([])
    assert capsys.readouterr().out == "There is no GPU: nothing was measured.\n"


def test_parts_that_do_not_exist_are_refused(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load("gpu").parse(["--parts", "peaks,speed"])
    assert "--parts must be some of peaks," in capsys.readouterr().err


def test_the_shares_of_a_profile(load: Any) -> None:
    step, rows, _ = made(load, "esmm")
    found = load("card_parts").profiled(step, rows, steps=2)
    shares = [float(found[kind].rstrip("%")) for kind in ("products", "rows", "sorting", "copies", "other")]
    assert sum(shares) == pytest.approx(100, abs=3) and min(shares[:2]) > 0
    assert found["longest"].count("\n") == 4


def test_updates_of_rows_are_timed(load: Any) -> None:
    found = load("card_parts").updates(torch.tensor([1, 5, 1, 7]), 20, 0.001)
    assert found["ours, us"] > 0
    assert found.get("apart", 0.0) < 1e-6 and ("apart" in found) == isinstance(found["FBGEMM, us"], float)


def test_the_city_can_be_learned_and_is_one(load: Any) -> None:
    sizes = (50, 20, *[5] * 15)
    city: EncodedCity = load("card").city_of(2000, sizes, history=30)
    meta = city.meta
    assert meta.vocabulary == sum(sizes) and [field.name for field in meta.fields][:2] == ["user", "item"]
    low = np.array([field.offset for field in meta.fields])
    assert (city.ids >= low).all() and (city.ids < low + sizes).all()
    assert ((city.history_stop - city.history_start) == 30).all() and city.history_start.min() >= 0
    assert city.history_stop.max() <= len(city.event_item) and (city.event_item >= 50).all()
    assert (city.event_item < 70).all() and city.event_time.max() < city.visit_start.min()
    click, cart, wish, purchase = city.labels[:, :4].T
    assert 0.02 < click.mean() < 0.5 and wish.sum() == 0
    assert (click >= cart).all() and (click >= purchase).all() and purchase.sum() > 0


def test_order_on_the_device(load: Any) -> None:
    _, rows, _ = made(load, "esmm")
    assert rows.batches.shape == (4, 64) and len(rows.batches.unique()) == 256
    assert rows.blocks == 8  # visits of 8 rows, whole ones


def test_a_step_is_that_of_the_plain_loop(load: Any) -> None:
    card = load("card")
    step, rows, city = made(load, "esmm")
    step.warm_up(rows.batches[0])
    assert step.losses.item() == 0.0 and step.optimizer.param_groups[0]["steps"] == 3
    module, optimizer = card.built(MODELS.get("esmm"), city, CONFIG, CPU)
    for index in (0, 0, 0, 1):
        optimizer.zero_grad()
        loss = module.training_step(step.maker.make(rows.batches[index].numpy()), 0)["loss"]
        loss.backward()
        optimizer.step()
    step(rows.batches[1])
    assert step.losses.item() == pytest.approx(loss.item(), rel=1e-5)
    for found, wanted in zip(step.module.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", ["esmm", "esmc", "mmoe"])
def test_a_recorded_graph_learns_what_the_plain_loop_learns(load: Any, name: str) -> None:
    card, device = load("card"), torch.device("cuda")
    assert card.asks(MODELS.get(name), CONFIG) is None
    city = card.city_of(2048, (50, 20, *[5] * 15), history=30)
    maker, rows = card.makers_of(city, CONFIG, device, [64])[64]
    assert load("card_parts").graph_error(MODELS.get(name), city, CONFIG, maker, rows) is None


CONFIG = Config(batch_size=64, din_length=5, eta_length=30, eta_top_k=10, precision="float32")


def made(load: Any, name: str) -> tuple[Any, Any, EncodedCity]:
    """A step on the CPU, rows for it, and their city."""
    card = load("card")
    city = card.city_of(256, (50, 20, *[5] * 15), history=30)
    maker, rows = card.makers_of(city, CONFIG, CPU, [64])[64]
    step = load("graph").Step(*card.built(MODELS.get(name), city, CONFIG, CPU), maker, 64, rows.blocks, record=False)
    return step, rows, city
