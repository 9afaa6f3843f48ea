"""benchmarks/: a tiny run of our own contestant, and the page. Nothing here depends on how fast the machine is."""

from __future__ import annotations

import importlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.encoded import EncodedCity

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
PEERS = ("torch-rechub", "DeepCTR-Torch", "FuxiCTR", "MTReclib-style")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of benchmarks/, which is no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """A run of two steps, with a Python that does not exist for the peers; the stored result and what was printed."""
    path = tmp_path_factory.mktemp("throughput") / "new" / "result.json"
    options = ["--rows", "4096", "--steps", "2", "--rounds", "2", "--warmup", "1", "--threads", "1", "--users", "3000"]
    done = subprocess.run(
        [sys.executable, FOLDER / "throughput.py", *options, "--peer-python", "/no/such/python", "--json", path],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text()), done.stdout


def fake(ours: float, fast: float, lean: float) -> dict[str, Any]:
    """A result in which a step of 1000 rows takes these many seconds: ours, the fast peer, the same one lean."""
    train = {"ours": ours, "slow": 2 * fast, "fast": fast, "fast, lean": lean}
    return {
        "created": "2024-01-01T00:00:00+00:00",
        "machine": {
            "processor": "P",
            "cores": 2,
            "memory_gib": 8.0,
            "system": "Linux",
            "python": "3.11",
            "load_before": [0.5, 0, 0],
            "load_after": [1.5, 0, 0],
        },
        "settings": {
            "sizes": [100, 10, 10],
            "embedding": 16,
            "hidden": [256, 128, 64],
            "experts": 4,
            "batch": 1000,
            "evaluation_batch": 2048,
            "rows": 3000,
            "steps": 1,
            "rounds": 3,
            "warmup": 1,
            "threads": 2,
            "visit_rows": 16,
        },
        "dense_flops_per_row": {"mmoe": 30, "shared_bottom": 6},
        "matmul_peak_flops": 60_000.0,
        "contestants": {
            name: {
                "setup": "lean" if name.endswith("lean") else "documented",
                "versions": {name: "1.0", "torch": "2.0"},
                "train": {model: [seconds, 9.0, seconds / 2] for model in ("mmoe", "shared_bottom")},
                "evaluate": {model: [] if "lean" in name else [2.5] for model in ("mmoe", "shared_bottom")},
            }
            for name, seconds in train.items()
        },
        "absent": {"gone": "no module"},
    }


@pytest.mark.slow
def test_a_small_run_measures_ours_and_says_why_peers_are_absent(measured: tuple[dict[str, Any], str]) -> None:
    result, printed = measured
    found = result["contestants"]
    ours, precision = found["ours"], found["ours"]["products"]
    assert precision in ("float32", "bfloat16") and ours["setup"] == "auto"
    assert list(found) == (["ours"] if precision == "float32" else ["ours", "ours, float32"])
    assert found[list(found)[-1]]["products"] == "float32"
    for contestant, model in itertools.product(found.values(), ("mmoe", "shared_bottom")):
        assert len(contestant["train"][model]) == 2 and len(contestant["evaluate"][model]) == 1
        assert all(seconds > 0 for seconds in contestant["train"][model] + contestant["evaluate"][model])
    assert result["settings"]["sizes"][:2] == [3000, 10_000]
    assert set(result["absent"]) == {*PEERS, *(f"{name}, lean" for name in PEERS)}
    assert all("No such file" in reason for reason in result["absent"].values())
    assert "FuxiCTR was not measured" in printed and "Shared-Bottom" in printed
    assert ours["versions"]["torch"] and len(result["machine"]["load_before"]) == 3


@pytest.mark.slow
def test_operations_per_row_count_the_matrix_products(measured: tuple[dict[str, Any], str]) -> None:
    width, tower = 20 * 16, 2 * (128 * 64 + 64)
    bottom = width * 256 + 256 * 128
    assert measured[0]["dense_flops_per_row"] == {
        "mmoe": 6 * (4 * bottom + 2 * width * 4 + 2 * 4 * 128 + tower),
        "shared_bottom": 6 * (bottom + tower),
    }


def test_the_table_is_an_encoded_city_that_peers_read_alike(load: Any, tmp_path: Path) -> None:
    sizes = (5000, *load("table").SIZES[1:])
    meta = load("table").write_table(tmp_path, 1000, sizes)
    city = EncodedCity.load(tmp_path)
    assert tuple(field.size for field in meta.fields) == sizes and meta.vocabulary == sum(
        field.size for field in meta.fields
    )
    for field, column in zip(meta.fields, np.asarray(city.ids).T, strict=True):
        assert field.offset <= column.min() and column.max() < field.offset + field.size
    sys.path.insert(0, str(FOLDER / "peers"))
    try:
        contestant = load("contestant")
    finally:
        sys.path.remove(str(FOLDER / "peers"))

    class Reader(contestant.Contestant):  # type: ignore[name-defined, misc]
        def build(self, model: str) -> None: ...
        def train(self, model: str, rows: range) -> float: ...
        def evaluate(self, model: str) -> float: ...

    settings = contestant.Settings([field.size for field in meta.fields], 16, [256, 128, 64], 4, 8, 8, 0.1, "lean")
    reader = Reader(tmp_path, settings)
    local = np.stack(list(reader.features(slice(10, 30)).values()), axis=1)
    assert (local + [field.offset for field in meta.fields] == city.ids[10:30]).all()
    assert reader.settings.lean and not reader.settings._replace(setup="documented").lean
    assert (reader.labels(slice(10, 30)) == city.labels[10:30][:, [0, 3]]).all()


def test_medians_ratios_and_shares(load: Any) -> None:
    summary, result = load("summary"), fake(ours=0.1, fast=0.25, lean=0.2)
    found = summary.speed(result, "ours", "mmoe")  # 0.1, 9 and 0.05 seconds for 1000 rows
    assert found.rate == pytest.approx(10_000) and found.high == pytest.approx(20_000)
    assert found.low == pytest.approx(1000 / 9) and found.evaluation == 2.5
    assert summary.fastest_peer(result, "mmoe") == "fast"
    assert summary.ratio(result, "mmoe") == pytest.approx(2.5)
    assert summary.ratio(result, "mmoe", "lean") == pytest.approx(2.0)
    assert summary.dense_flops(result, "mmoe") == pytest.approx(300_000)
    assert summary.evaluation_floor(result, "mmoe") == pytest.approx(3000 * 10 / 60_000)


def test_the_page_shows_what_is_stored(load: Any) -> None:
    text = load("page").page(fake(ours=0.1, fast=0.25, lean=0.2))
    assert "| ours, against the fastest peer (documented) | 2.50 × fast | 2.50 × fast |" in text
    assert "| ours, against the fastest peer (lean) | 2.00 × fast, lean | 2.00 × fast, lean |" in text
    assert "| fast 1.0, lean | 5,000 (111-10,000) | 5,000 (111-10,000) |" in text
    assert "gone was not measured: `no module`." in text
    assert "1 of 100, 2 of 10 ids" in " ".join(text.split())
    assert "| MTReclib-style | 20,000 | 28,000 |" in text
    assert "TorchEasyRec could not be installed" in text and "Training with" not in text


def test_the_page_shows_ours_in_both_precisions_and_tables_of_other_sizes(load: Any) -> None:
    page, result, large = load("page"), fake(ours=0.1, fast=0.25, lean=0.2), fake(ours=0.1, fast=2.0, lean=0.2)
    found = result["contestants"]
    found["ours"] |= {"setup": "auto", "products": "bfloat16"}
    found["ours, float32"] = fake(0.125, 1, 1)["contestants"]["ours"] | {"setup": "float32", "products": "float32"}
    large["settings"]["sizes"][0] = 5_000_000
    text = page.page(result, [large])
    assert "| ours (ours 1.0, torch 2.0, products in bfloat16) | 10,000 " in text
    assert "| ours, float32 (ours 1.0, torch 2.0, products in float32) | 8,000 " in text
    assert "| ours, against the fastest peer (documented) | 2.50 × fast | 2.50 × fast |" in text
    assert "| ours, float32, against the fastest peer (lean) | 1.60 × fast, lean | 1.60 × fast, lean |" in text
    before, _, after = text.partition("## Training with 5,000,000 users")
    assert "20.00 × fast" not in before
    assert "| ours, against the fastest peer (documented) | 20.00 × fast | 20.00 × fast |" in after
    summary = load("summary")
    assert [summary.wanted_ratio(result, model) for model in ("mmoe", "shared_bottom")] == [4, 5]
    assert summary.wanted_ratio(large, "mmoe") == 10


@pytest.mark.slow
def test_the_page_of_a_run_without_peers(load: Any, measured: tuple[dict[str, Any], str]) -> None:
    text = load("page").page(measured[0])
    assert "against the fastest" not in text and "| FuxiCTR | 19,000 | 34,000 |" in text


def test_the_stored_page_is_that_of_the_stored_result(load: Any) -> None:
    page = load("page")
    if not page.RESULT.exists():
        pytest.skip(f"no stored measurement at {page.RESULT.relative_to(ROOT)}")
    stored = json.loads(page.RESULT.read_text(encoding="utf-8"))
    assert page.PAGE.read_text(encoding="utf-8") == page.page(stored, page.other_results(page.RESULT))


def test_options_that_cannot_work_are_refused(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        load("throughput").parse(["--rows", "10"])
    assert stopped.value.code == 2
    assert "--rows must be at least 51200, but is 10" in capsys.readouterr().err
