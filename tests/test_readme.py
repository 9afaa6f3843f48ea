"""The README: its commands run, and every command, option, file and model that it names exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bench.cli.main import application
from bench.core.config import Config, override
from bench.core.registry import MODELS
from bench.runner.model_files import add_model_file
from bench.runner.trial import failure_of

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
INLINE = re.findall(r"`([^`\n]+)`", PROSE)
BLOCKS = re.findall(r"(<!-- commands[^>]*-->\n)?```console\n(.*?)```", TEXT, flags=re.DOTALL)
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```(?:python|csv|toml)\n(.*?)```", TEXT, flags=re.DOTALL))
EXECUTED = [line for marked, block in BLOCKS if marked for line in block.splitlines()]
COMMANDS = [line for _, block in BLOCKS for line in block.splitlines()] + INLINE


@pytest.mark.slow
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = os.environ | {"PATH": path, "WANDB_MODE": "offline"}
    assert len(EXECUTED) >= 5
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for line in EXECUTED:
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), f"{line}\n{done.stdout}{done.stderr}"
    report = (tmp_path / "runs" / "report" / "report.md").read_text(encoding="utf-8")
    assert "failed:" not in report
    assert re.search(r"^\| my_model \|", report, re.MULTILINE)


def test_the_model_of_the_readme_can_be_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS, "_outside", {})
    assert list(FILES) == ["clicks.csv", "mylog.toml", "my_model.py"]
    (tmp_path / "my_model.py").write_text(FILES["my_model.py"], encoding="utf-8")
    assert add_model_file(tmp_path / "my_model.py") == "my_model"
    assert failure_of("my_model") is None


@pytest.mark.parametrize("line", dict.fromkeys(line for line in COMMANDS if re.match(r"bench [a-z-]", line)))
def test_every_command_of_the_readme_is_understood(line: str) -> None:
    command, (name, *arguments) = get_command(application()), shlex.split(line)
    while commands := getattr(command, "commands", {}):
        name, *arguments = arguments
        command = commands[name]
    context = command.make_context(name, arguments)
    override(Config(), context.params.get("changes") or [])


def options_of(command: Any) -> set[str]:
    """All options of a command and of the commands in it."""
    own = {name for parameter in command.params for name in parameter.opts}
    return own.union(*map(options_of, getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("text", dict.fromkeys(text for text in INLINE if text.startswith("--")))
def test_every_option_of_the_readme_exists(text: str) -> None:
    option, *values = text.split()
    assert option in options_of(get_command(application()))
    if option == "--set":
        override(Config(), values)


def test_every_make_target_of_the_readme_exists() -> None:
    named = {match[1] for line in COMMANDS if (match := re.fullmatch(r"make (\w+)", line))}
    assert {"bench", "test", "install"} <= named
    assert named <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_file_of_the_readme_exists() -> None:
    named = [
        text for text in INLINE if re.match(r"(bench|baselines|esm_models|sweeps|reports|benchmarks|tests)/", text)
    ]
    assert [text for text in named if not (ROOT / text).exists()] == []


def test_every_model_is_in_the_readme() -> None:
    named = re.findall(r"`(?:baselines|esm_models)/(\w+)\.py`", PROSE)
    assert sorted(named) == MODELS.names()
