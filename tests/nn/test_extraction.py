"""PLE (Tang et al., RecSys 2020, Eq. 1-8) by a plain loop over rows, levels, tasks and experts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.nn.extraction import Extraction, ExtractionLevel
from bench.nn.mlp import Towers

TASKS = ("ctr", "cvr")


def random(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data.normal_(0.0, 0.5, generator=generator)


def expert(towers: Towers, name: str, value: np.ndarray) -> np.ndarray:
    for weight, bias in towers.tower(name):
        value = value @ weight.detach().numpy() + bias.detach().numpy()
        value = np.where(value > 0, value, 0.01 * value)
    return value


def gate(towers: Towers, name: str, value: np.ndarray) -> np.ndarray:
    weight, bias = towers.tower(name)[0]
    score = np.exp(value @ weight.detach().numpy() + bias.detach().numpy())
    return score / score.sum()


def by_hand(level: ExtractionLevel, below: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """g^k(x) = w^k(x) S^k(x): S^k stacks the task's experts and the shared ones, those of the shared output all."""
    made = {
        group: [expert(level.experts, f"expert_{group}{i}", below[group]) for i in range(level.count)]
        for group in (*TASKS, "shared")
    }
    found = {}
    for task in TASKS:
        weights = gate(level.gates, f"gate_{task}", below[task])
        found[task] = sum(w * value for w, value in zip(weights, made[task] + made["shared"], strict=True))
    if level.shared_gate is not None:
        weights = gate(level.shared_gate, "gate_shared", below["shared"])
        every = [value for group in made.values() for value in group]
        found["shared"] = sum(w * value for w, value in zip(weights, every, strict=True))
    return found


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("hidden", [(6, 4), (3,), ()])
def test_extraction_equals_a_loop(levels: int, hidden: tuple[int, ...]) -> None:
    extraction = Extraction(TASKS, 3, levels, 5, hidden)
    random(extraction)
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(2))
    found = extraction(x)
    assert found.shape == (2, 7, extraction.width) == (2, 7, hidden[-1] if hidden else 5)
    for index, row in enumerate(x.numpy()):
        vectors = dict.fromkeys((*TASKS, "shared"), row)
        for level in extraction.levels:
            assert isinstance(level, ExtractionLevel)
            vectors = by_hand(level, vectors)
        assert list(vectors) == list(TASKS)  # the last level has no shared output
        for place, task in enumerate(TASKS):
            np.testing.assert_allclose(found[place, index].detach(), vectors[task], rtol=1e-4, atol=1e-5)


def test_a_task_never_reads_the_experts_of_another_at_the_last_level() -> None:
    """At one level CTR's loss leaves CVR's experts alone; at two it reaches them through the shared output."""
    for levels, reached in ((1, False), (2, True)):
        extraction = Extraction(TASKS, 2, levels, 5, (6,))
        random(extraction)
        extraction(torch.randn(9, 5, generator=torch.Generator().manual_seed(2)))[0].square().sum().backward()
        experts = extraction.levels[0].experts
        moved = dict(zip(experts.names, experts.weights[0].grad.flatten(1).abs().amax(1) > 0, strict=True))  # type: ignore
        assert all(moved[f"expert_{group}{i}"] for group in ("ctr", "shared") for i in range(2))
        assert [bool(moved[f"expert_cvr{i}"]) for i in range(2)] == [reached, reached]


def test_levels_start_from_their_seeds() -> None:
    first, again, other = (Extraction(TASKS, 2, 3, 5, (5,)) for _ in range(3))
    for extraction, seed in ((first, 0), (again, 0), (other, 1)):
        extraction.reset(seed)
    states = [extraction.state_dict() for extraction in (first, again, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not torch.equal(states[0]["levels.1.experts.weights.0"], states[2]["levels.1.experts.weights.0"])
    assert not torch.equal(states[0]["levels.1.experts.weights.0"], states[0]["levels.2.experts.weights.0"])
