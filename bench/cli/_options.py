"""Options that several commands share."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.core.config import Config, override, preset
from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.data.source import Source
    from bench.runner.team import Team

#: The dataset where none is named.
DATASET = "six_cities"

Out = Annotated[Path, typer.Option(help="Folder for data, cells and reports.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", help=f"Dataset, see `bench ls`, imported log, or folder of funnel tables; default: {DATASET}."
    ),
]
DataDir = Annotated[Path | None, typer.Option(help="Where the raw files of a log lie.")]
Scale = Annotated[float | None, typer.Option(help="Share of the published size; default: the dataset's own.")]
DataSeed = Annotated[int, typer.Option(help="Seed of the simulation.")]
World = Annotated[
    list[str] | None,
    typer.Option("--world", help="Change a knob of the simulation, e.g. --world bad_case_share=0.4 (repeatable)."),
]
Preset = Annotated[
    str | None,
    typer.Option(help="A paper's protocol: esmc or esm2; default: the dataset's, with --exhibit its paper's."),
]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a knob, e.g. --set dropout=0.5 (repeatable).")]
ModelFiles = Annotated[
    list[Path] | None,
    typer.Option("--model-file", help="Also a model of your own, e.g. --model-file my_model.py (repeatable)."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Worker processes; default: one per core, or one with a GPU; with Ray, one per CPU or GPU it has."
    ),
]
Executor = Annotated[
    str,
    typer.Option(help="local: processes of this machine; ray: tasks of a Ray cluster, whose nodes must share --out."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="A running cluster: auto (of this machine), HOST:PORT or ray://HOST:10001; default: a Ray of its own, out "
        "of reach for other machines.",
    ),
]
AtOnce = Annotated[
    int | None,
    typer.Option(
        help="Cells of one model trained at once in a process, where they differ in seed or coefficient only; default: "
        "what a measurement finds faster, 1 for small runs."
    ),
]
Devices = Annotated[
    int, typer.Option(help="Processes, or GPUs, of this node that train each cell together, on shares of its batches.")
]
NumNodes = Annotated[
    int,
    typer.Option(
        help="Nodes that train each cell together: the same command on each, with NODE_RANK (0, 1, …), and MASTER_ADDR "
        "and MASTER_PORT of node 0, in the environment, and an --out that all of them see."
    ),
]
Wandb = Annotated[str, typer.Option(help="auto (online when a key is set), online, offline or off.")]

Storage = Annotated[
    str | None,
    typer.Option(
        envvar="BENCH_STORAGE",
        help="Studies on a PostgreSQL server, for workers on many machines: postgresql://user@host/database; "
        "default: in --out.",
    ),
]


def names(text: str | None) -> list[str] | None:
    """``"a, b"`` → ``["a", "b"]``; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def configuration(name: str, assignments: Sequence[str] | None) -> Config:
    """Preset with changes.

    Raises:
        UserError: the preset, a key or a value is wrong.
    """
    return override(preset(name), assignments or [])


def source(
    name: str, scale: float | None, seed: int, data_dir: Path | None, world: Sequence[str] | None, out: Path
) -> Source:
    """The dataset, ``world`` as in ``--world bad_case_share=0.4``; without a scale, at its own.

    ``out``: where imported logs lie.

    Raises:
        UserError: it is unknown or cannot be imported, or an option is out of range.
    """
    from bench.data.source import SourceOptions
    from bench.runner.prepare import open_source

    if scale is not None and not 0.0 < scale <= 1.0:
        raise UserError(f"--scale must be above 0 and at most 1, but got {scale}.")
    if seed < 0:
        raise UserError(f"--data-seed must be 0 or more, but got {seed}.")
    knobs: dict[str, str | list[str]] = {}
    for assignment in world or []:
        knob, found, value = assignment.partition("=")
        if not found:
            raise UserError(f"--world needs knob=value, but got {assignment!r}; write for example bad_case_share=0.4.")
        knobs[knob.strip()] = value.split(",") if "," in value else value.strip()
    return open_source(name, SourceOptions(scale=scale, seed=seed, knobs=knobs, data_dir=data_dir), out)


def model_files(paths: Sequence[Path] | None) -> list[str]:
    """Makes the models of these files known; returns their names.

    Raises:
        UserError: a file cannot be used.
    """
    if not paths:
        return []
    from bench.runner.model_files import add_model_file

    return list(dict.fromkeys(map(add_model_file, paths)))


def repeated(context: typer.Context, *parameters: str) -> str:
    """The options among ``parameters`` that were given, as they would be typed again, each behind a space."""
    typed = ""
    for option in context.command.params:
        value = context.params.get(option.name or "")
        if option.name in parameters and value is not None and value != option.default:
            values = value if isinstance(value, list | tuple) else [value]
            typed += "".join(f" {option.opts[0]} {shlex.quote(str(each))}" for each in values)
    return typed


def hide_password(url: str | None) -> str:
    """`` --storage URL`` as it may be printed, empty where it was not typed; the command line forgets the password.

    W&B would keep the command line, which worker processes inherit.

    Raises:
        UserError: the URL is none of a PostgreSQL server.
    """
    if url is None:
        return ""
    from sweeps.address import without_password

    shown = without_password(url)
    typed = [url, f"--storage={url}"]
    found = any(argument in typed for argument in sys.argv)
    sys.argv[:] = [argument.replace(url, shown) if argument in typed else argument for argument in sys.argv]
    return f" --storage {shlex.quote(shown)}" if found else ""


def wandb_mode(text: str) -> str:
    """``text`` if it is a mode.

    Raises:
        UserError: it is none.
    """
    modes = ("auto", "online", "offline", "off")
    if text not in modes:
        raise UserError(f"--wandb must be one of {', '.join(modes)}, but got {text!r}.")
    return text


def worker_count(jobs: int | None) -> int | None:
    """Number of worker processes; None where the executor chooses.

    Raises:
        UserError: it is not positive.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs must be at least 1, but got {jobs}.")
    return jobs


def executor(name: str, address: str | None) -> str:
    """``name`` if it is an executor that can be used.

    Raises:
        UserError: it is none, or cannot be used, or the address is not for it.
    """
    from bench.runner.executor import require_executor

    require_executor(name, address)
    return name


def at_once(number: int | None) -> int | None:
    """Cells that are trained at once.

    Raises:
        UserError: it is not positive.
    """
    if number is not None and number < 1:
        raise UserError(f"--at-once must be at least 1, but got {number}.")
    return number


def team(devices: int, nodes: int, jobs: int | None, at_once: int | None, executor: str) -> Team | None:
    """The processes that train each cell together; None for one.

    Raises:
        UserError: a number is out of range, the environment does not say which node this is, or another option would
            have cells trained beside each other.
    """
    from bench.runner.team import team_of

    found = team_of(devices, nodes)
    beside = {"--jobs": jobs not in (None, 1), "--at-once": at_once not in (None, 1), "--executor": executor != "local"}
    if found and any(beside.values()):
        given = ", ".join(option for option, is_given in beside.items() if is_given)
        raise UserError(f"--devices and --num-nodes train one cell at a time on this machine; leave out {given}.")
    return found
