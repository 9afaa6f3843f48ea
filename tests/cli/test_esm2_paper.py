"""The ESM² paper from the command line: its dataset and protocol by default, cells shared by exhibits, the report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_world import Bench

from bench.results.store import Store

#: The shop at a ten-thousandth of its size with few dense features.
SHOP = ("--scale", "0.0001", "--world", "dense=8", "--seeds", "1", "--wandb", "off")


def test_the_paper_has_its_own_dataset_and_protocol(bench: Bench, tmp_path: Path) -> None:
    said = bench("run", "--exhibit", "all-esm2", "--dry-run", "--seeds", "1", "--out", tmp_path)
    assert (said.code, said.err) == (0, "")
    cells = re.findall(r"ecommerce/shop (\S+) seed 0(?: \((\S+)\))?$", said.out, re.MULTILINE)
    assert len(cells) == len(set(cells)) == 27
    assert {model for model, knobs in cells if not knobs} == {"gbdt", "dnn", "dnn_os", "esmm", "esm2"}
    assert {model for model, knobs in cells if knobs} == {"esm2"}


@pytest.mark.slow
def test_exhibits_share_cells_and_the_report_shows_them(bench: Bench, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    said = bench("run", "--exhibit", "esm2_table_8", *SHOP, *out)
    assert (said.code, said.err) == (0, ""), said.out
    assert "2 cells trained" in said.out
    said = bench("run", "--exhibit", "esm2_table_8,esm2_figure_7,esm2_table_7", "--dry-run", *SHOP, *out)
    assert "5 cells, 2 of them stored" in said.out
    said = bench("report", *out)
    assert (said.code, said.err) == (0, "")
    report = (tmp_path / "out" / "report" / "report.md").read_text(encoding="utf-8")
    assert "failed:" not in report
    titles = re.findall(r"^### (.*)$", report, re.MULTILINE)
    assert [title for title in titles if title.startswith("ESM² Figure")]
    assert len([title for title in titles if title.startswith("ESM² ")]) == 10
    assert not [title for title in titles if title.startswith("ESMC ") and "Table IV" not in title]
    for record in Store(tmp_path / "out").records():
        assert record.cell.config.action == "cart_wish"
        assert {"auc/ctcvr/exposed", "gauc/ctcvr/exposed"} <= set(record.metrics["test"])
        assert "ceiling/cvr/clicked" in record.metrics["test"]
        assert "ceiling/car/clicked" not in record.metrics["test"]
