"""``bench data init-spec``: a file that ``bench data import`` reads."""

from __future__ import annotations

from pathlib import Path

from cli_world import Bench, files

HEADER = "user,item,event,time"
ROWS = [
    f"{day % 3},{day % 2},{kind},2024-03-{1 + day:02d} 10:0{minute}:00"
    for day in range(10)
    for minute, kind in enumerate(("view", "cart", "purchase"))
]


def write_log(lines: list[str], name: str = "log.csv") -> Path:
    Path(name).write_text("\n".join([HEADER, *lines]) + "\n")
    return Path(name)


def test_a_proposal_can_be_imported_as_it_is(bench: Bench) -> None:
    log = write_log(ROWS)
    said = bench("data", "init-spec", log, "--to", "deep/shop.toml")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "deep/shop.toml line 10: check time_zone: times have no offset; in which zone were they written? "
        "Such as Europe/Berlin",
        "deep/shop.toml is written; look at its comments, then: bench data import --spec deep/shop.toml",
    ]
    proposal = Path("deep/shop.toml").read_text().splitlines()
    assert proposal[9].startswith('time_zone = "UTC"')
    assert 'files = ["../log.csv"]' in "\n".join(proposal)
    assert {path.name for path in Path("deep").iterdir()} == {"shop.toml"}
    imported = bench("data", "import", "--spec", "deep/shop.toml")
    assert (imported.code, imported.err) == (0, "")
    assert Path("runs/data/logs/shop/manifest.json").exists()


def test_lines_to_decide_are_told(bench: Bench) -> None:
    write_log([row.replace("view", "1").replace("cart", "2").replace("purchase", "3") for row in ROWS])
    said = bench("data", "init-spec", "log.csv")
    assert said.code == 0
    *_, decide, last = said.out.splitlines()
    number = int(decide.partition("line ")[2].partition(":")[0])
    assert decide.startswith(f"mylog.toml line {number}: decide view: put each value under")
    assert Path("mylog.toml").read_text().splitlines()[number - 1].startswith('# view = "…"')
    assert last == "mylog.toml is written; fill in the 1 to decide, then: bench data import --spec mylog.toml"


def test_a_file_is_never_overwritten(bench: Bench) -> None:
    write_log(ROWS)
    Path("mylog.toml").write_text("mine")
    before = files(Path())
    said = bench("data", "init-spec", "log.csv")
    assert (said.code, said.out) == (2, "")
    assert said.err == "error: --to must be a new file, but mylog.toml exists; name another, or delete it.\n"
    assert files(Path()) == before


def test_missing_files_and_folders_are_named(bench: Bench) -> None:
    said = bench("data", "init-spec", "absent*.csv", "--to", "deep/shop.toml")
    assert said.code == 2
    assert said.err.startswith("error: files must match 'absent*.csv' in ")
    assert list(Path().iterdir()) == []
    log = write_log(ROWS)
    said = bench("data", "init-spec", log, "--to", log / "shop.toml")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: --to needs a folder that can be made, but that of log.csv/shop.toml cannot")
