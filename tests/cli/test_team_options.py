"""``bench run --devices N --num-nodes M``: what is refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_world import Bench

CITY = ("run", "--cities", "6", "--scale", "0.0001", "--models", "esmm", "--out", "out")
ALONE = "error: --devices and --num-nodes train one cell at a time on this machine; leave out {}.\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--devices", "0"), "error: --devices must be at least 1, but got 0.\n"),
        (("--devices", "2", "--jobs", "3"), ALONE.format("--jobs")),
        (("--devices", "2", "--at-once", "2", "--jobs", "2"), ALONE.format("--jobs, --at-once")),
        (
            ("--num-nodes", "2"),
            "error: --num-nodes needs the address of node 0 in MASTER_ADDR, but it is not set; set it on all nodes.\n",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert bench(*CITY, *options) == (2, "", said)
    assert not Path("out").exists()


def test_one_job_beside_several_processes_is_no_contradiction(bench: Bench) -> None:
    assert bench(*CITY, "--devices", "2", "--jobs", "1", "--at-once", "1", "--dry-run").code == 0
