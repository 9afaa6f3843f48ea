"""Model files from outside: what a model must have, and which version of a file a worker runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.core.config import PRESETS
from bench.core.errors import UserError
from bench.core.registry import MODELS
from bench.data.source import Source
from bench.results.store import Store
from bench.runner import worker
from bench.runner.layout import Layout
from bench.runner.model_files import add_model_file
from bench.runner.plan import Request, models_of, plan
from bench.runner.prepare import encoded_folder
from bench.runner.run import forget_older, run_cells
from bench.runner.trial import failure_of

MINE = """\
from esm_models.esmm import ESMM


class Mine(ESMM):
    name = "mine"
    title = "Mine"
"""


@pytest.fixture(autouse=True)
def _only_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS, "_outside", {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


class Inline:
    """In place of a pool: every task in this process."""

    jobs = 1
    listen = staticmethod(lambda event: None)

    def run(self, function, tasks, arguments):  # type: ignore[no-untyped-def]
        return [(task, function(*arguments(task)), None, False) for task in tasks]


def test_a_good_model_is_one_among_the_others(path: Path) -> None:
    assert add_model_file(path) == "mine"
    assert list(models_of(["esmm"], ["mine"])) == ["esmm", "mine"]
    assert set(models_of(None)) == {*MODELS.names()} > {"mine"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine = type('M', (), {'name': 'mine'})()", "must be a class that extends FunnelModule; import it from"),
        ("class Mine:\n    name = 'mine'", "must be a class that extends FunnelModule"),
        (
            "from bench.modeling.module import FunnelModule\nclass Mine(FunnelModule):\n    name = title = 'mine'",
            "must implement build and compose; add them to the class",
        ),
        (
            "from bench.modeling.module import FunnelModule\nclass Mine(FunnelModule):\n    name = title = 'mine'\n"
            "    def build(self, width): ...",
            "must implement compose; add it to the class",
        ),
        (f"{MINE}    title = None", 'must have a title; add title = "…" to the class'),
        (f"{MINE}    needs = ('click')", "must have a tuple of names in needs, but has 'click'; write for example"),
        (f"{MINE}    needs = ('click', 'buy')", "in needs some of click, .*, search, but has 'buy'; take"),
        (f"{MINE}    knobs = ('dropout',)", "must have in knobs some of experts, .*, but has 'dropout'; take it out"),
    ],
)
def test_what_a_model_lacks_is_said_before_it_is_trained(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(UserError, match=f"^the model in {path} .*{message}"):
        add_model_file(path)
    assert MODELS.outside("mine") is None


def test_the_version_of_a_file_is_part_of_the_key(path: Path, source: Source) -> None:
    cells = []
    for comment in ("", "# slower\n"):
        path.write_text(MINE + comment)
        request = Request(source, ["6"], models_of(["esmm"], [add_model_file(path)]), [PRESETS["esmc"]])
        cells.append(plan([request], 1).cells)
    (esmm, first), (again, second) = cells
    assert esmm == again
    assert esmm.code == ""
    assert first.model_copy(update={"code": second.code}) == second
    assert second.code == MODELS.code("mine") != first.code
    assert first.key != second.key


def test_a_worker_runs_the_version_that_was_planned(path: Path, source: Source, layout: Layout) -> None:
    """It has never seen the file; when the file was edited since, the cell fails and says why."""
    request = Request(source, ["6"], {"mine": MODELS.get(add_model_file(path))}, [PRESETS["esmc"]])
    first, second = plan([request], 2).cells
    encoded = encoded_folder(layout, source, "6")
    MODELS._outside.clear()
    assert worker.run_cell(layout.out, first, encoded, "off", model_file=path) is None
    path.write_text(MINE + "raise RuntimeError('half-written')\n")
    reason = worker.run_cell(layout.out, second, encoded, "off", model_file=path)
    assert reason == f"{path} must stay as it was when the run began, but was edited; run again."
    path.unlink()
    reason = worker.run_cell(layout.out, second, encoded, "off", model_file=path)
    assert reason == f"a model file must be readable, but {path} is not: No such file or directory; check the path."
    assert [failure.reason for failure in Store(layout.out).failures()] == [reason]
    assert [record.cell for record in Store(layout.out).records()] == [first]


def test_failures_of_older_versions_are_forgotten(path: Path, source: Source, layout: Layout) -> None:
    store, folders = Store(layout.out), {source.fingerprint("6"): encoded_folder(layout, source, "6")}

    def failed(text: str) -> list[str]:
        path.write_text(text)
        request = Request(source, ["6"], {"mine": MODELS.get(add_model_file(path))}, [PRESETS["esmc"]])
        cells = plan([request], 1).cells
        forget_older(store, cells)
        run_cells(layout.out, cells, folders, Inline(), "off")  # type: ignore[arg-type]
        return [failure.reason for failure in store.failures()]

    assert failed(f"{MINE}    def compose(self, x): return 1 / 0\n") == ["ZeroDivisionError: division by zero"]
    assert failed(f"{MINE}    def compose(self, x): return self.tower\n") == [
        "AttributeError: 'Mine' object has no attribute 'tower'"
    ]
    assert failed(MINE) == []
    forget_older(store, [])
    assert len(store.records()) == 1


def test_a_model_is_tried_out(path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    add_model_file(path)
    assert failure_of("mine") is None
    path.write_text(f"{MINE}    def compose(self, x):\n        return self.tower(x)\n")
    add_model_file(path)
    failure = failure_of("mine")
    torch.set_num_threads(threads)
    assert failure is not None
    assert f'File "{path}", line 8, in compose' in failure
    assert "return self.tower(x)" in failure
