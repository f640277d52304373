"""reelworks: large tensors lie in huge pages where the kernel gives them on request."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

POLICY = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PROGRAM = """
import reelworks, torch
tensor = torch.ones(64 * 2**18)
rollup = open("/proc/self/smaps_rollup").read()
print(rollup.split("AnonHugePages:")[1].split()[0])
"""


def huge_kb(**environment: str) -> int:
    """Of a fresh process that holds a tensor of 64 MiB."""
    kept = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=kept | environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(
    not POLICY.exists() or "[madvise]" not in POLICY.read_text(),
    reason="this kernel gives them to all or to none",
)
def test_a_large_tensor_lies_in_huge_pages_unless_the_environment_says_otherwise() -> None:
    assert huge_kb() >= 32 * 1024
    assert huge_kb(THP_MEM_ALLOC_ENABLE="0") < 8 * 1024
