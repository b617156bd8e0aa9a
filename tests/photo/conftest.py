"""What tests of more than one tool for photos need."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lumiere_core.media.measure import JOINED, block_steps, worst_join


@pytest.fixture
def joins_like_any_step() -> Callable[[torch.Tensor], bool]:
    """Whether a loop `(T, H, W, 3)` shows no more where it joins than a step elsewhere in it does."""

    def judge(clip: torch.Tensor) -> bool:
        steps = block_steps(clip)
        turned = [worst_join(steps.roll(by, 0))[0] for by in range(JOINED + 1, len(steps) - JOINED, 2)]
        return worst_join(steps)[0] <= 1.3 * max(turned)  # single flakes; a cut steam has 3.6

    return judge
