"""Counts the tensor bytes that live at once, and holds the pack's memory estimate against them, in the host.

Resident memory is too noisy for this: allocators keep what was freed. Scratch space inside a kernel is not a tensor and
is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

# (clips, frames, height, width): one prompt, two prompts together, a window, frames that get filled up, a wide picture
SHAPES = {
    "base": [(1, 16, 64, 64), (2, 16, 64, 64), (2, 80, 64, 64), (1, 17, 64, 64), (1, 8, 64, 256)],
    "ssr": [(1, 16, 256, 256), (2, 16, 256, 256), (1, 9, 256, 256), (1, 16, 128, 384)],
}


class LiveBytes(TorchDispatchMode):
    """Tensors made inside it, in bytes: `now` and at most, `peak`. What lived before (weights) does not count.

    device  the kind of device whose tensors count; all by default
    """

    def __init__(self, device: str | None = None) -> None:
        super().__init__()
        self.device, self.now, self.peak = device, 0, 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        given = {t.untyped_storage()._cdata for t in tensors_of((args, kwargs))}
        out = func(*args, **kwargs)
        for tensor in tensors_of(out):
            storage = tensor.untyped_storage()
            key = storage._cdata
            elsewhere = self.device and tensor.device.type != self.device
            if elsewhere or key in self.known or key in given:  # a view, or written in place
                continue
            self.known.add(key)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.gone, key, storage.nbytes())
        return out

    def gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def tensors_of(tree: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, torch.Tensor))


def in_half_precision(load: Callable[[], Any]) -> Any:
    """A model as a device with bfloat16 has it; the host would compute in float32 on a CPU."""
    from comfy.cli_args import args

    was, args.bf16_unet = args.bf16_unet, True
    try:
        model = load()
    finally:
        args.bf16_unet = was
    model.manual_cast_dtype = None
    return model


def peak_of(model: Any, context: torch.Tensor, clips: int, frames: int, height: int, width: int) -> int:
    """Live bytes of one forward pass of a MODEL at most, its inputs counted in."""
    scale, given = model.lumiere.scale, {}
    with LiveBytes() as live:
        x, sigma = torch.randn(clips, 3, frames, height, width), torch.ones(clips)
        if model.lumiere.unet.low_res_channels:
            given = {
                "low_res": torch.zeros(clips, 3, frames, height // scale, width // scale),
                "noise_level": 0.05,
            }
        model.apply_model(x, sigma, c_crossattn=context.repeat(clips, 1, 1), **given)
    return live.peak


def memory(pack: Any) -> dict[str, float]:
    """The MODELs' `memory_required` over the measured peak, by kind, precision and shape. `pack`: inside.Pack."""
    choices = dict(
        zip(SHAPES, pack.nodes["Lumiere_LoadModel"].define_schema().inputs[0].options, strict=False)
    )
    report, ((context, _),) = {}, pack.encode("a red fish")
    for kind, shapes in SHAPES.items():

        def load(choice: str = choices[kind]) -> Any:
            return pack.run("LoadModel", choice)[0].model

        for model in (load(), in_half_precision(load)):
            dtype = str(model.manual_cast_dtype or model.get_dtype()).removeprefix("torch.")
            for clips, frames, height, width in shapes:
                estimate = model.memory_required([clips, 3, frames, height, width])
                peak = peak_of(model, context, clips, frames, height, width)
                report[f"memory {kind} {dtype} {clips}x{frames}x{height}x{width}"] = estimate / peak
    return report
