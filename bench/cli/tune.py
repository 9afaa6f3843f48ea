"""``bench tune``: an Optuna study of a model's coefficients on the validation split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import _options as options

#: Trials after the paper's grid, unless ``--trials`` says otherwise.
BEYOND_GRID = 15


def tune(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="Model to tune: esmc, esmc2 or esms2.")] = "esmc",
    city: Annotated[str, typer.Option(help="City to tune on.")] = "1",
    knobs: Annotated[
        list[str] | None, typer.Option("--knob", help="Search this knob only (repeatable); default: all the model has.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help=f"Finished trials to have in the end; default: the grid and {BEYOND_GRID} more.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Seeds per trial; its value is their mean.")] = 1,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    scale: options.Scale = None,
    data_seed: options.DataSeed = 0,
    world: options.World = None,
    preset: options.Preset = None,
    changes: options.Set = None,
    out: options.Out = Path("runs"),
    jobs: options.Jobs = None,
    executor: options.Executor = "local",
    ray_address: options.RayAddress = None,
    wandb: options.Wandb = "auto",
    storage: options.Storage = None,
) -> None:
    """Search coefficients by validation CTCVR-AUC; the next call carries on with the same study.

    The ESMC paper's grids are tried first: constraint_weight {0.01, 0.05, 0.1, 0.5, 1}, weight_global
    {0.1, 0.3, 0.5, 0.7, 1}; for two knobs every combination. `bench run --tuned` uses the best values.

    Examples:

    - `bench tune --model esmc --city 1 --trials 20`

    - `bench tune --model esmc --city 1 --seeds 3`

    - `bench tune --model esmc2 --city 1 --knob weight_global --set constraint_weight=0.1`

    - `bench run --models esmc --cities 1 --tuned`

    - `bench tune --model esmc --city 1 --trials 40 --storage postgresql://user@host/database`, on every machine
    """
    from rich.console import Console

    from bench.cli._tuning import opened_studies, plot, search, table
    from bench.core.errors import UserError
    from bench.core.registry import MODELS
    from sweeps.space import grid, space_of
    from sweeps.study import OBJECTIVE, subject

    for option, number in (("--trials", trials), ("--seeds", seeds)):
        if number is not None and number < 1:
            raise UserError(f"{option} must be at least 1, but got {number}.")
    model_class = MODELS.get(model)
    searched = space_of(model, knobs or [])
    source = options.source(data or options.DATASET, scale, data_seed, data_dir, world, out)
    config = options.configuration(preset or source.preset, changes)
    for knob in searched:
        if any(change.partition("=")[0].strip() == knob.name for change in changes or []):
            raise UserError(
                f"--set must not fix a knob that is searched, but fixes {knob.name}; leave it out, "
                "or name the knobs to search with --knob."
            )
    what = subject(source, source.require(city), model, model_class.knobs, config, searched, seeds)
    wanted = len(grid(searched)) + BEYOND_GRID if trials is None else trials
    workers, mode = options.worker_count(jobs), options.wandb_mode(wandb)
    options.executor(executor, ray_address)
    on_server = options.hide_password(storage)
    same = options.repeated(context, "data", "data_dir", "scale", "data_seed", "world", "preset", "changes", "out")
    with opened_studies(storage, out) as studies:
        study = search(
            source,
            what,
            wanted,
            out=out,
            jobs=workers,
            executor=executor,
            ray_address=ray_address,
            wandb=mode,
            studies=studies,
        )
        best = ", ".join(f"{name} = {value:.4g}" for name, value in study.best_params.items())
        console = Console()
        console.print(table(study, what))
        console.print(f"plot: {plot(study, what, out)}", soft_wrap=True, markup=False, highlight=False)
        console.print(
            f"best {best} (valid {OBJECTIVE} {study.best_value:.5f}); "
            f"use it: bench run --models {model} --cities {city} --tuned{same}{on_server}",
            soft_wrap=True,
            markup=False,
        )
