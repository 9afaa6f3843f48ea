"""The top of a report: on what and how cells were computed."""

from __future__ import annotations

from fake_store import StoreMaker

from reports.header import _machine


def test_how_cells_were_computed_is_told(make_store: StoreMaker) -> None:
    """Each kind with the number of its cells, where there are several."""
    records = make_store(("1",), ("esmm", "esmc"), 2).records()
    assert len(records) == 4
    notes = [
        {"precision": "bfloat16", "cuda_graph": "used", "embedding_update": "fbgemm"},
        {"precision": "bfloat16", "cuda_graph": "used"},
        {"precision": "float32", "cuda_graph": "dropout draws anew in every step"},
        {},
    ]
    told = [record.model_copy(update={"notes": own}) for record, own in zip(records, notes, strict=True)]
    (text,) = _machine(told)
    lines = text.splitlines()
    assert "- towers computed in: bfloat16 (2 cells), float32 (1 cells)" in lines
    assert "- CUDA graph of the step: used (2 cells), dropout draws anew in every step (1 cells)" in lines
    assert "- embedding rows updated by: fbgemm" in lines
