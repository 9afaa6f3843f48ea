"""``bench run``: train and evaluate every model on every city that is not stored yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import _options as options


def run(
    context: typer.Context,
    all_cities: Annotated[bool, typer.Option("--all-cities", help="Every city of the dataset.")] = False,
    cities: Annotated[str | None, typer.Option(help="Some cities, e.g. 1,3.")] = None,
    models: Annotated[str | None, typer.Option(help="Some models, e.g. esmc,esmm; default: all.")] = None,
    model_files: options.ModelFiles = None,
    exhibit: Annotated[
        str | None, typer.Option(help="What an exhibit lacks, e.g. table_v,figure_5, or all-esmc: the whole paper.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds per model.")] = 3,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    scale: options.Scale = None,
    data_seed: options.DataSeed = 0,
    world: options.World = None,
    preset: options.Preset = None,
    changes: options.Set = None,
    axes: Annotated[
        list[str] | None,
        typer.Option("--grid", help="Every value of a knob, e.g. --grid constraint_weight=0.01,0.1 (repeatable)."),
    ] = None,
    tuned: Annotated[bool, typer.Option("--tuned", help="Use the best values that `bench tune` found.")] = False,
    storage: options.Storage = None,
    out: options.Out = Path("runs"),
    jobs: options.Jobs = None,
    executor: options.Executor = "local",
    ray_address: options.RayAddress = None,
    at_once: options.AtOnce = None,
    devices: options.Devices = 1,
    num_nodes: options.NumNodes = 1,
    wandb: options.Wandb = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells and stop.")] = False,
) -> None:
    """Train models on cities; finished cells are skipped, so a second start carries on.

    Examples:

    - `bench run --all-cities`

    - `bench run --cities 1,3 --models esmc,esmm --seeds 3`

    - `bench run --cities 6 --models esmm,esmc --model-file my_model.py`

    - `bench run --exhibit all-esmc,all-esm2`

    - `bench run --cities 6 --models esmc --grid constraint_weight=0.01,0.1,1 --grid constraint=gaussian,softmax`

    - `bench run --all-cities --scale 0.0001 --dry-run`

    - `bench run --cities 6 --world bad_case_share=0.4`

    - `bench run --data ga360 --data-dir path/to/export`

    - `bench run --cities 1 --preset esm2 --set dropout=0.3`

    - `bench run --cities 1 --scale 1 --models esmc --seeds 1 --devices 4`

    - `bench run --all-cities --executor ray --ray-address auto --out shared/runs`
    """
    from bench.cli._execution import execute
    from bench.cli._requests import exhibit_names, grid, of_exhibits
    from bench.core.config import Config
    from bench.core.errors import UserError
    from bench.data.source import Source
    from bench.runner.layout import Layout
    from bench.runner.plan import Request, choose, models_of

    def place(dataset: str, protocol: str | None = None) -> tuple[Source, Config]:
        source = options.source(dataset, scale, data_seed, data_dir, world, out)
        return source, options.configuration(preset or protocol or source.preset, changes)

    options.hide_password(storage)
    if all_cities and cities is not None:
        raise UserError(f"take --all-cities or --cities, but got both (--cities {cities}).")
    if exhibit is not None:
        chosen = {"--models": models, "--model-file": model_files, "--set": changes, "--grid": axes, "--tuned": tuned}
        if given := [option for option, value in chosen.items() if value]:
            raise UserError(f"--exhibit says which models in which configuration; leave out {', '.join(given)}.")
        from reports.exhibit import DATASETS  # pandas: only where it is used

        requests = of_exhibits(
            exhibit_names(exhibit),
            lambda paper: place(data or DATASETS.get(paper or "", options.DATASET), paper),
            options.names(cities),
        )
    else:
        source, config = place(data or options.DATASET)
        known = source.cities()
        if not all_cities and cities is None and len(known) > 1:
            raise UserError(f"say which cities: --all-cities, or --cities with some of {', '.join(known)}.")
        requests = [
            Request(
                source,
                choose("city", options.names(cities), known),
                models_of(options.names(models), options.model_files(model_files)),
                grid(config, axes or []),
            )
        ]
    if tuned:
        from sweeps.study import best_values  # Optuna: only where it is used

        only = requests[0]
        values = best_values(storage or Layout(out).studies, only.source, only.cities, only.models, config)
        requests = [only._replace(tuned=values)]
    raise typer.Exit(
        execute(
            requests,
            seeds=seeds,
            out=out,
            jobs=options.worker_count(jobs),
            executor=options.executor(executor, ray_address),
            ray_address=ray_address,
            at_once=options.at_once(at_once),
            team=options.team(devices, num_nodes, jobs, at_once, executor),
            wandb=options.wandb_mode(wandb),
            wandb_group=f"{requests[0].source.label} grid {' '.join(axes)}" if axes else None,
            dry_run=dry_run,
            report=f"bench report{options.repeated(context, 'out')}",
        )
    )
