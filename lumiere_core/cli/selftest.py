"""One block to paste into a bug report: what this machine is, and one short clip made on it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import time
from collections.abc import Iterator

import torch

from .. import __version__
from ..generate import Settings, text_to_video, upscale
from ..media.files import to_pixels
from ..media.measure import frame_differences
from ..media.pictures import opencv
from ..model.checkpoint import BUNDLED, bundled, load, read
from ..model.device import pick_device

PACKAGES = ("torch", "numpy", "einops", "safetensors", "av", "pillow")
PROMPT = "a red balloon rising over the sea at sunset"


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def opencv_version() -> str:
    try:
        return opencv().__version__
    except ValueError:
        return "not installed (the tools for finished clips and photos need it)"


def self_test() -> Iterator[str]:
    """Lines of the report, each as soon as it is known. Takes seconds: 16 frames, 4 steps, and their enlargement.

    The hash is of the clip's 8-bit pixels: two machines with the same device, dtype and versions should agree on it.
    """
    device, dtype = pick_device()
    name = (
        torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    )
    yield f"lumiere {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}"
    yield f"device  {device.type} ({name}), {torch.get_num_threads()} threads, {str(dtype).removeprefix('torch.')}"
    yield "with    " + ", ".join(f"{package} {version_of(package)}" for package in PACKAGES)
    yield f"opencv  {opencv_version()}"
    for kind in BUNDLED:
        yield f"weights {bundled(kind).name} ({read(bundled(kind)).hash})"
    start = time.monotonic()
    clip = text_to_video(
        load(bundled("base"), device, dtype), PROMPT, "", Settings(num_frames=16, steps=4, seed=1)
    )
    made = time.monotonic()
    large = upscale(load(bundled("ssr"), device, dtype), clip, PROMPT, Settings(steps=1, seed=1))
    for what, result, seconds in (("clip", clip, made - start), ("SSR", large, time.monotonic() - made)):
        pixels = to_pixels(result[0])
        yield (
            f"{what:<7} {tuple(pixels.shape)} in {seconds:.1f} s, sha256 "
            f"{hashlib.sha256(pixels.tobytes()).hexdigest()[:16]}, mean {float(pixels.mean()):.1f}, "
            f"motion {127.5 * float(frame_differences(result[0]).mean()):.1f}"
        )
    sound = bool(clip.isfinite().all() and large.isfinite().all()) and float(clip.std()) > 0.1
    yield "result  " + ("sound: it makes pictures" if sound else "NOT SOUND: the clip is empty or not finite")
