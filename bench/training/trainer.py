"""The Trainer of every cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from bench.training.distributed import trainer_options
from bench.training.memory import keep_freed_memory


def trainer_of(callbacks: Sequence[pl.Callback], epochs: int = 1, **options: Any) -> pl.Trainer:
    """A Trainer that prints, logs and stores nothing by itself; ``options`` are further arguments of Lightning's.

    On a GPU where there is one, on the processes of the group where there are several.
    """
    keep_freed_memory()
    return pl.Trainer(
        **{
            "max_epochs": epochs,
            "accelerator": "cuda" if torch.cuda.is_available() else "cpu",
            **trainer_options(),
            "logger": False,
            "callbacks": [*callbacks],
            "enable_checkpointing": False,
            "enable_model_summary": False,
            "enable_progress_bar": False,
            "num_sanity_val_steps": 0,
            "reload_dataloaders_every_n_epochs": 1,
            "use_distributed_sampler": False,
            **options,
        }
    )
