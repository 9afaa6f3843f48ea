"""The table that all contestants train on, in the project's own encoded format (memory-mapped ``.npy`` files).

20 categorical fields of mixed size, ids uniform within each field: the most distinct rows per batch, which is the
least favourable case for updates on touched rows. A click depends on the first two fields and a purchase on the
third, so that losses fall and an AUC is not one half. No histories.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.data.encoded import DTYPES, META, EncodedField, Meta, create

#: Local ids of each field, users first; together the rows of the embedding table.
SIZES: tuple[int, ...] = (100_000, *[10_000] * 4, *[1_000] * 5, *[100] * 10)
#: Rows of a visit; ours shuffles visits, the peers shuffle rows.
VISIT_ROWS = 16


def write_table(folder: Path, rows: int, sizes: Sequence[int] = SIZES, seed: int = 0) -> Meta:
    """Write an encoded city of ``rows`` rows into ``folder``; its test split is all of them."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    visits = -(-rows // VISIT_ROWS)
    meta = Meta(
        dataset="throughput",
        city="1",
        fingerprint="throughput",
        fields=tuple(
            EncodedField(name=f"field{index}", size=size, offset=int(offsets[index]))
            for index, size in enumerate(sizes)
        ),
        vocabulary=int(offsets[-1]),
        event_kinds=8,
        splits={"train": (0, rows), "valid": (0, 0), "test": (0, rows)},
        users=visits,
        visits=visits,
        events=0,
        counts={},
        calibration={},
        has_truth=False,
        has_cart=False,
        checksums={},
    )
    arrays = {name: create(folder, name, shape) for name, shape in meta.shapes().items() if 0 not in shape}
    for name in meta.shapes().keys() - arrays.keys():  # a file of no bytes cannot be mapped for writing
        np.save(folder / f"{name}.npy", np.zeros(0, dtype=DTYPES[name]))
    score = np.zeros((3, rows))
    for index, size in enumerate(sizes):
        local = rng.integers(0, size, rows, dtype=np.int32)
        arrays["ids"][:, index] = local + np.int32(offsets[index])
        if index < len(score):
            score[index] = rng.normal(size=size)[local]
    click = rng.random(rows) < 1 / (1 + np.exp(2.0 - score[0] - score[1]))
    purchase = click & (rng.random(rows) < 1 / (1 + np.exp(1.0 - score[2])))
    arrays["labels"][:] = purchase[:, None]
    arrays["labels"][:, :3] = np.stack([click, purchase, 0 * click], axis=1)
    arrays["exposure"][:] = np.arange(rows)
    arrays["visit"][:] = arrays["user"][:] = np.arange(rows) // VISIT_ROWS
    for array in arrays.values():
        array.flush()
    (folder / META).write_text(meta.model_dump_json() + "\n", encoding="utf-8")
    return meta
