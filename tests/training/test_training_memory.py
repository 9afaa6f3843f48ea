"""A training step's memory stays with the process, so that the next step waits for no new pages."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, torch
from bench.training.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        kept = [torch.ones(1 << 21) for _ in range(6)]  # 8 MiB each
        while kept:
            kept.pop()  # in the order of a backward pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

MMAP_THRESHOLD = -3
ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 1 << 17)  # where glibc begins, before it adapts
first = faults()
keep_freed_memory()
faults(), faults()
print(first, faults())
"""


def faults(**environment: str) -> tuple[int, int]:
    """Page faults of five steps, before and after, in a process of their own."""
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    before, after = done.stdout.split()
    return int(before), int(after)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc has these thresholds")
def test_a_step_finds_the_memory_of_the_one_before() -> None:
    before, after = faults()
    assert before > 1000
    assert after < before / 50


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc has these thresholds")
def test_what_the_environment_says_is_left_alone() -> None:
    before, after = faults(MALLOC_MMAP_THRESHOLD_="131072")
    assert after > before * 0.9


KEPT = """
import torch
from pathlib import Path
from bench.training.memory import give_back_memory, keep_freed_memory

def resident():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024

keep_freed_memory()
for _ in range(2):  # after the first time, what lives is not looked through again
    before = resident()
    tensors = [torch.ones(1 << 20) for _ in range(60)]  # 4 MiB each
    tensors.append(tensors)  # a cycle, as Lightning leaves them
    del tensors
    kept = resident()
    give_back_memory()
    print(kept - before, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc has these thresholds")
def test_what_a_cell_took_is_given_back_after_it() -> None:
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    numbers = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(numbers) == 2
    for kept, left in numbers:
        assert kept >= 240
        assert left < 40
