"""`--model-file`: a model outside the project, trained and ranked against the others."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from cli_world import WORLD, Bench, Said, start

from bench.core.registry import MODELS
from bench.results.store import Store

MODEL = """\
from esm_models.esmm import ESMM


class Mine(ESMM):
    name = "mine"
    title = "My ESMM"
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MODEL)
    return path


def run(mine: Path, *more: str | Path) -> tuple[str | Path, ...]:
    return ("run", "--cities", "6", "--seeds", "1", "--jobs", "2", *WORLD, "--model-file", mine, *more)


def in_processes(*arguments: str | Path) -> Said:
    process = start(*arguments)
    said, errors = process.communicate(timeout=180)
    return Said(process.returncode, said, errors)


def mine_in(out: Path) -> list[str]:
    return [record.cell.code for record in Store(out).records() if record.cell.model == "mine"]


def test_a_model_file_is_trained_and_ranked(bench: Bench, out: Path, mine: Path) -> None:
    """In worker processes of its own, as a user starts it; edited, it is trained anew and the old cell left out."""
    said = in_processes(*run(mine, "--models", "esmm,esmc", "--out", out))
    assert (said.code, said.err) == (0, ""), said
    assert "models esmm, esmc, mine" in said.out
    assert "2 of 3 cells are stored already" in said.out
    assert re.search(r"1/1 six_cities-x0.0001/6 mine seed 0 \(\d+ s\)", said.out)
    first = mine_in(out)
    by_model = {record.cell.model: record for record in Store(out).records()}
    assert by_model["mine"].metrics == by_model["esmm"].metrics  # it is ESMM under another name
    assert by_model["mine"].key != by_model["esmm"].key

    assert bench("report", "--out", out).code == 0
    report = (out / "report" / "report.md").read_text()
    assert "failed:" not in report
    table = pd.read_csv(out / "report" / "table_iv.csv").set_index(["model", "metric"])["mean"]
    assert table["mine", "auc/ctr/exposed"] == table["esmm", "auc/ctr/exposed"]
    assert re.search(r"^\| mine \|", report, re.MULTILINE)

    again = in_processes(*run(mine, "--models", "mine", "--out", out))
    assert "1 of 1 cells are stored already\n0 cells trained" in again.out
    mine.write_text(MODEL + "# now with a comment\n")
    edited = bench(*run(mine, "--models", "mine", "--out", out))
    assert "1/1 six_cities-x0.0001/6 mine seed 0" in edited.out
    assert len(mine_in(out)) == 2
    assert bench("report", "--out", out).code == 0
    report = (out / "report" / "report.md").read_text()
    assert "mine: cells of older versions of its file are left out" in report
    assert len(pd.read_csv(out / "report" / "table_iv.csv").query("model == 'mine'")) == 3

    mine.write_text(MODEL)  # back again: what is stored of it counts
    assert "1 of 1 cells are stored already" in bench(*run(mine, "--models", "mine", "--out", out)).out
    assert bench("report", "--out", out).code == 0
    assert set(first) < set(mine_in(out))
    status = bench("status", "--out", out)
    assert re.search(r"six_cities-x0.0001 │ 6 +│ 6 +│ 0 +│ 0 ", status.out)
    ls = bench("ls", "--out", out)
    assert (ls.code, ls.out.splitlines()[-1].split(": ")[1]) == (0, "6 cells (six_cities-x0.0001), 0 failed, 0 damaged")
    assert bench("check", "--out", out).code == 0


def test_what_is_trained_with_it(bench: Bench, mine: Path, tmp_path: Path) -> None:
    def models(*more: str | Path) -> list[str]:
        said = bench(*run(mine, *more, "--dry-run"))
        assert said.code == 0, said
        return re.findall(r"six_cities-x0.0001/6 (\w+) seed 0", said.out)

    second = tmp_path / "second.py"
    second.write_text(MODEL.replace('"mine"', '"second"'))
    built_in = [name for name in MODELS.names() if name not in ("mine", "second")]
    assert models() == [*built_in, "mine"]
    assert models("--models", "esmc,esmm") == ["esmc", "esmm", "mine"]
    assert models("--models", "mine") == ["mine"]
    assert models("--models", "esmm", "--model-file", second) == ["esmm", "mine", "second"]
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"a model file must be readable, but \S+/mine.py is not: No such file or directory; check the path\."),
        ("class Mine(:\n", r"\S+/mine.py line 1 cannot be imported: SyntaxError: invalid syntax; mend it\."),
        ("name = 'mine'\n", r"\S+/mine.py must have a model whose name is 'mine', but has none; set name = 'mine'\."),
        (
            MODEL + "    knobs = ('hidden',)\n",
            r"the model in \S+/mine.py must have in knobs some of .*, but has 'hidden'",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_wrong_file_is_refused_before_anything_is_written(
    bench: Bench, mine: Path, text: str | None, message: str, command: str
) -> None:
    mine.unlink()
    if text is not None:
        mine.write_text(text)
    said = bench(*(run(mine) if command == "run" else ("check", "--model-file", mine)))
    assert (said.code, said.out) == (2, "")
    assert re.match(f"error: {message}", said.err)
    assert len(said.err.splitlines()) == 1
    assert list(Path().iterdir()) == []


def test_a_built_in_name_is_refused(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "esmm.py"
    path.write_text(MODEL.replace('"mine"', '"esmm"'))
    said = bench(*run(path))
    assert said.code == 2
    assert "must have a name of its own, but" in said.err


def test_a_model_that_fails_is_mended(bench: Bench, out: Path, mine: Path) -> None:
    mine.write_text(MODEL + "\n    def compose(self, x):\n        return self.tower(x)\n")
    checked = bench("check", "--out", out, "--model-file", mine)
    assert checked.code == 1
    assert "✗ model mine cannot be trained:" in checked.out
    assert f'File "{mine}", line 9, in compose' in checked.out
    said = bench(*run(mine, "--models", "mine", "--out", out))
    assert said.code == 1
    assert "1/1 failed six_cities-x0.0001/6 mine seed 0: AttributeError: 'Mine' object has no attribute" in said.out
    assert "mine seed 0: AttributeError" in bench("status", "--out", out).out

    mine.write_text(MODEL)
    checked = bench("check", "--out", out, "--model-file", mine)
    assert (checked.code, checked.err) == (0, "")
    assert "model mine can be trained" in checked.out
    assert bench(*run(mine, "--models", "mine", "--out", out)).code == 0
    status = bench("status", "--out", out)
    assert re.search(r"six_cities-x0.0001 │ 6 +│ 5 +│ 0 +│ 0 ", status.out)
    assert "AttributeError" not in status.out
