"""Tasks for test_ray_pool, as bench.runner.worker has them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch

from bench.core.errors import UserError
from bench.runner.events import Progress
from bench.runner.worker import tell


def work(folder: Path, task: str) -> tuple[str, int]:
    """Do what the name of the task says; ``die-once`` and ``die`` end their process as the system does."""
    with (folder / task).open("a") as tries:
        tries.write("x")
    tell(Progress(task, "start"))
    if task == "error":
        raise UserError("wrong")
    if task == "die" or (task == "die-once" and (folder / task).stat().st_size == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "sleep":
        (folder / "pid").write_text(str(os.getpid()))
        time.sleep(60)
    return str(Path.cwd()), torch.get_num_threads()
