"""In which dtype the towers compute: bfloat16 where the hardware multiplies it faster than float32."""

from __future__ import annotations

import torch

from bench.core.config import Precision


def dtype_of(precision: Precision) -> torch.dtype:
    """``auto``: bfloat16 where there is hardware for its products (CUDA 8.0, AMX, AVX512-BF16), else float32."""
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16() else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def has_bfloat16() -> bool:
    """Whether the device that trains has instructions for products of bfloat16, not only an emulation."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
