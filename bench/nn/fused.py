"""Lookups whose backward updates the rows at once, by FBGEMM's exact Adagrad.

FBGEMM is used where it is installed (``pip install -e '.[fbgemm]'``) and one process trains on a CUDA device. On a CPU
it is slower than the update of :mod:`bench.nn.optimisers`, and is not even imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.nn.distributed import processes

#: Types of devices on which it is used.
DEVICES = ("cuda",)
#: Widths that FBGEMM's kernels have: multiples of 4 up to this one.
MOST_WIDTH = 1024

#: Gives the accumulator [rows, dim] and the learning rate of the next step.
State = Callable[[], tuple[Tensor, float]]


class FusedTable:
    """Looks up rows of a table; backward updates them and their accumulator, both in place.

    v ← v + g²; w ← w - lr g / (sqrt(v) + eps), where g is the sum of the gradients of all equal ids. The tensors are
    the table's and the optimiser's own: FBGEMM holds no others, and takes them as they are at every lookup, with the
    learning rate. No value is awaited from the device.

    Args:
        weight: the table, float32 [rows, dim].
        eps: Adagrad's.

    Raises:
        ImportError: FBGEMM is not installed, or its build has no kernels for the device.
        OSError: FBGEMM's libraries cannot be loaded.
    """

    def __init__(self, weight: Tensor, eps: float, state: State) -> None:
        import fbgemm_gpu
        from fbgemm_gpu.split_embedding_configs import EmbOptimType, SparseType
        from fbgemm_gpu.split_table_batched_embeddings_ops_common import (
            BoundsCheckMode,
            EmbeddingLocation,
            PoolingMode,
        )
        from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
            ComputeDevice,
            SplitTableBatchedEmbeddingBagsCodegen,
        )

        cuda = weight.device.type == "cuda"
        if cuda and fbgemm_gpu.__variant__ == "cpu":
            raise ImportError("this build of FBGEMM has no kernels for CUDA")
        place = (EmbeddingLocation.DEVICE, ComputeDevice.CUDA) if cuda else (EmbeddingLocation.HOST, ComputeDevice.CPU)
        self.weight, self.state = weight, state
        self._lookup: Any = SplitTableBatchedEmbeddingBagsCodegen(
            [(*weight.shape, *place)], optimizer=EmbOptimType.EXACT_ADAGRAD, eps=eps, stochastic_rounding=False,
            pooling_mode=PoolingMode.NONE, output_dtype=SparseType.FP32, bounds_check_mode=BoundsCheckMode.NONE,
            device=weight.device,
        )  # fmt: skip
        self._weights, self._momentum = (f"{name}_{'dev' if cuda else 'host'}" for name in ("weights", "momentum1"))
        #: Whether backward has updated the rows of the last lookup, and the optimiser's step has not come yet.
        self.updated = False
        self._last: Tensor | None = None
        self._take()
        if cuda:  # what FBGEMM had allocated counts as free again when the city is sent to the device
            torch.cuda.empty_cache()

    def __call__(self, ids: Tensor) -> Tensor:
        """Vectors [n, dim] of int64 ids [n].

        Raises:
            RuntimeError: the lookup before was used in backward, and no step followed.
        """
        if self.updated:
            raise RuntimeError("one lookup a step: the rows of the last lookup were updated, and no step followed")
        self._take()
        # Each id is a bag of its own: FBGEMM's kernels go through the ids of a bag one after another.
        vectors: Tensor = self._lookup(ids, torch.arange(len(ids) + 1, device=ids.device))
        self._last = ids
        vectors.register_hook(lambda grad: self._once(ids))  # type: ignore[no-untyped-call]
        return vectors

    def _take(self) -> None:
        """Hand FBGEMM the table, the accumulator and the learning rate."""
        accumulator, rate = self.state()
        getattr(self._lookup, self._weights).data = self.weight.detach().view(-1)
        getattr(self._lookup, self._momentum).data = accumulator.view(-1)
        self._lookup.set_learning_rate(rate)

    def _once(self, ids: Tensor) -> None:
        """Called before the update; raise where the gradient is not the only one of this step."""
        if self._last is not ids or self.updated:
            raise RuntimeError("one lookup a step: the gradient of a lookup came after it was replaced or used")
        self.updated = True


def fused(weight: Tensor, eps: float, state: State) -> FusedTable | None:
    """The fused table, None where the update of :mod:`bench.nn.optimisers` must do; see :class:`FusedTable`."""
    width = weight.shape[1]
    if weight.device.type not in DEVICES or processes() > 1 or width % 4 or not 0 < width <= MOST_WIDTH:
        return None
    try:
        return FusedTable(weight, eps, state)
    except (ImportError, OSError, torch.OutOfMemoryError):  # FBGEMM's own tables lie beside ours for a moment
        return None
