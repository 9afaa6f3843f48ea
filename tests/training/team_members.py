"""What processes that train together do in the tests; each leaves what it has in the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.distributed import FileStore

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling import module as modules
from bench.modeling.inputs import InputShape
from bench.nn import optimisers
from bench.nn.distributed import mean_of_rows, processes, rank
from bench.nn.embedding import EmbeddingTable
from bench.training.callbacks import Evaluation, LossCurve
from bench.training.distributed import Place, join_group, leave_group, trainer_options
from bench.training.train import quiet

PROCESSES = 2


class Case(NamedTuple):
    """A model and its configuration."""

    model: str
    config: Config


class End(NamedTuple):
    """What a process has after training and testing."""

    parameters: dict[str, Tensor]
    state: list[dict[str, Tensor]]
    curve: list[tuple[int, int, dict[str, float]]]
    predictions: dict[str, Any]


class Left(NamedTuple):
    """What a process leaves: the ends of all cases, those without an exchange, and the rows of :func:`updates`."""

    ends: list[End]
    without_rows: End
    without_losses: End
    updates: list[tuple[Tensor, Tensor] | None]


def train(case: Case, city: EncodedCity) -> End:
    """Train and test, alone or with the others."""
    quiet()
    module = MODELS.get(case.model)(case.config, InputShape.of(city, case.config), 0)
    data = FunnelDataModule(city, case.config, 0, part=(rank(), processes()))
    curve, evaluation = LossCurve(), Evaluation(city)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        **trainer_options(),
        logger=False,
        callbacks=[curve, evaluation],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    trainer.fit(module, datamodule=data)
    (optimizer,) = trainer.optimizers
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state = [{name: value.clone() for name, value in optimizer.state[weight].items()} for weight in weights]
    parameters = {name: value.detach().clone() for name, value in module.named_parameters()}
    trainer.test(module, datamodule=data, verbose=False)  # begins with the first process's parameters on all
    return End(
        parameters,
        state,
        [(point.step, point.rows, dict(point.losses)) for point in curve.points[0]],
        evaluation.metrics[0].probabilities() if evaluation.metrics else {},
    )


def updates() -> list[tuple[Tensor, Tensor] | None]:
    """Rows and gradients of a table of ones [5, 2] after exchanges in which the processes look up different rows."""
    table = EmbeddingTable(5, 2)
    table.weight.data.fill_(1.0)
    found: list[tuple[Tensor, Tensor] | None] = []
    for ids, factor in (([[3, 1, 3], [3]], [1.0, 10.0]), ([[2], []], [1.0, 1.0]), ([[], []], [1.0, 1.0])):
        own = torch.tensor(ids[rank()], dtype=torch.int64)
        table.touched = None
        if len(own):
            (table(own).sum() * factor[rank()]).backward()
        touched, grad = mean_of_rows(table, table.touched, table.touched and table.touched.leaf.grad)
        found.append(None if touched is None or grad is None else (touched.rows, grad))
    return found


def member(place: int, folder: Path, city: EncodedCity, cases: Sequence[Case]) -> None:
    """One of the processes. The exchanges are left out one at a time for the first case, after all others."""
    torch.set_num_threads(1)
    join_group(Place(place, PROCESSES), FileStore(str(folder / "meeting"), PROCESSES))
    ends, rows = [train(case, city) for case in cases], updates()
    optimisers.mean_of_rows = lambda table, touched, grad: (touched, grad)
    without_rows = train(cases[0], city)
    optimisers.mean_of_rows = mean_of_rows
    modules.whole_batch = lambda output, labels, rows: (output, labels)
    torch.save(Left(ends, without_rows, train(cases[0], city), rows), folder / str(place))
    leave_group()
