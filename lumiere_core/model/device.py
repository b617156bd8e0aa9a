"""Where a network runs, and in which numbers."""

from __future__ import annotations

import torch


def pick_device() -> tuple[torch.device, torch.dtype]:
    """The fastest device here and the dtype it is fast in: bf16 on GPUs and on CPUs with instructions for it."""
    if torch.cuda.is_available():
        return torch.device("cuda"), torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float32
    if torch.backends.mps.is_available():
        return torch.device("mps"), torch.float32
    has = (
        getattr(torch.cpu, name, lambda: False)()
        for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    )
    return torch.device("cpu"), torch.bfloat16 if any(has) else torch.float32


def check_device(name: str) -> None:
    """Raises ValueError for a device that this machine, or this PyTorch, does not have."""
    try:
        if torch.device(name).type not in ("cpu", "cuda", "mps"):
            raise ValueError("of another kind")
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, ValueError) as error:  # PyTorch without CUDA asserts
        raise ValueError(
            f"device is {name!r}, which PyTorch does not find here. Leave it out for the best there is: "
            f"{pick_device()[0].type}."
        ) from error
