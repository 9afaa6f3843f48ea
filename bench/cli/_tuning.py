"""Carry out ``bench tune``, and show the study."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import typer
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.core.cell import Cell
from bench.core.errors import UserError
from bench.core.publish import alone, ensure_folder, sweep_staging
from bench.core.registry import MODELS
from bench.data.source import Source
from bench.results.store import Store
from bench.runner import run as runner
from bench.runner.executor import open_pool
from bench.runner.layout import Layout
from bench.runner.plan import Request, plan
from bench.runner.pool import Pool
from sweeps.figure import draw, file_name, spread
from sweeps.storage import Storage, opened
from sweeps.study import OBJECTIVE, Subject, open_study, optimise


@contextlib.contextmanager
def opened_studies(url: str | None, out: Path) -> Iterator[Storage]:
    """The studies at the URL of a server; without one, those in ``out``, for this process alone.

    Raises:
        UserError: what the user can mend, now or later in the block.
    """
    runner.open_output(out)
    if url is not None:
        with opened(url) as studies:
            yield studies
    else:
        with alone(Layout(out).studies_lock, "bench tune"), opened(Layout(out).studies) as studies:
            yield studies


def search(
    source: Source,
    what: Subject,
    trials: int,
    *,
    out: Path,
    jobs: int | None,
    executor: str,
    ray_address: str | None,
    wandb: Any,
    studies: Storage,
) -> optuna.Study:
    """Run the study with a progress bar; returns it. Ctrl-C keeps what is finished.

    Raises:
        UserError: what the user can mend.
    """
    study = open_study(studies, what)
    console = Console(soft_wrap=True, highlight=False)
    pool = open_pool(executor, jobs, ray_address, lambda event: None, out)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with console.status("preparing data"):
            folders = _prepare(source, what, out, pool)
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
            finished = sum(trial.value is not None for trial in study.trials)
            bar = progress.add_task("trials", total=trials, completed=min(finished, trials))

            def train(cells: list[Cell]) -> dict[str, str]:
                return runner.run_cells(out, cells, folders, pool, wandb, study.study_name).failed

            def told(trial: FrozenTrial) -> None:
                result = "failed" if trial.value is None else f"{trial.value:.5f}"
                progress.console.print(f"trial {trial.number}: {trial.params} → {result}", markup=False)
                progress.advance(bar, trial.value is not None)

            optimise(study, studies, what, trials, pool.jobs, Store(out), train, told)
    except KeyboardInterrupt:
        console.print("stopped; finished trials are kept: run the same command again to carry on.")
        raise typer.Exit(130) from None
    finally:
        pool.close()
        sweep_staging(out)
    return study


def _prepare(source: Source, what: Subject, out: Path, pool: Pool) -> dict[str, Path]:
    """Encoded arrays of the city that is tuned on, by fingerprint.

    Raises:
        UserError: it cannot be prepared, or lacks labels that the model needs.
    """
    city, model = what.cell.city, what.cell.model
    folders, errors = runner.prepare(out, [(source, city)], pool)
    for error in errors.values():
        raise error
    request = Request(source, [city], {model: MODELS.get(model)}, [what.cell.config])
    for line in plan([request], 1, runner.metas_of(folders)).left_out:
        raise UserError(f"a study needs a city that the model can learn from, but {line}; take another --model.")
    return folders


def table(study: optuna.Study, what: Subject) -> Table:
    """The finished trials of a study; the best has a star."""
    names = [knob.name for knob in what.knobs]
    seeds = f", mean ± standard deviation over {what.seeds} seeds" if what.seeds > 1 else ""
    shown = Table(title=f"{escape(study.study_name)}\nvalid {OBJECTIVE}{seeds}")
    for column in ("trial", *names, "value", "state"):
        shown.add_column(column, no_wrap=True)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL)):
        width, best = spread(trial), trial.number == study.best_trial.number
        shown.add_row(
            str(trial.number),
            *(f"{trial.params[name]:.4g}" for name in names),
            ("-" if trial.value is None else f"{trial.value:.5f}") + ("" if width is None else f" ± {width:.5f}"),
            f"{trial.state.name} ★" if best else trial.state.name,
            style="bold" if best else None,
        )
    return shown


def plot(study: optuna.Study, what: Subject, out: Path) -> Path:
    """Draw the study beside the others, in ``studies/`` below ``out``; gives back the picture.

    Raises:
        UserError: the folder cannot be written to.
    """
    folder = ensure_folder(Layout(out).studies.with_suffix(""))
    path = folder / file_name(study.study_name)
    title = f"{MODELS.get(what.cell.model).title} on {what.cell.dataset}, city {what.cell.city}"
    draw(study, what, title, path)
    return path
