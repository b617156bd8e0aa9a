"""Clips for the browser: the whole clip so far as one picture of small frames, which `js/clip_preview.js` plays."""

from __future__ import annotations

import base64
import logging
import math
import time
from io import BytesIO
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

EVENT = "lumiere.clip"
SIDE = 64  # pixels of a frame's longer side, at most: the size of the bundled model's clips
MOST = 160  # frames, ten seconds at 16 fps; of a longer clip some are left out, evenly
PAUSE = 1 / 3  # seconds between two clips, at least
PREVIEW_FPS = 16.0  # Lumiere's rate; a sampler is not told another


def shrunk(frames: Tensor, side: int) -> Tensor:
    """Frames `(T, C, H, W)` no longer than `side`, each pixel the mean of those it stands for."""
    height, width = frames.shape[-2:]
    scale = side / max(height, width)
    if scale >= 1:
        return frames
    return F.interpolate(frames, (max(1, round(scale * height)), max(1, round(scale * width))), mode="area")


def in_colour(x0: Tensor, latent_format: Any, side: int = SIDE, most: int = MOST) -> Tensor | None:
    """x0 as small frames `(n, 3, h, w)` in [-1, 1], n at most `most`; None if the latent format has no linear colours.

    x0 is `(1, C, T, H, W)`, or frames as batch `(T, C, H, W)`. The colours are the host's own linear ones.
    """
    factors = latent_format.latent_rgb_factors
    if x0.is_nested or x0.ndim not in (4, 5) or factors is None:
        return None
    if getattr(latent_format, "latent_rgb_factors_reshape", None) is not None:
        return None
    frames = x0[0].transpose(0, 1) if x0.ndim == 5 else x0
    if len(frames) < 2 or frames.shape[1] != len(factors):
        return None
    frames = shrunk(frames[:: math.ceil(len(frames) / most)].float(), side)
    bias = latent_format.latent_rgb_factors_bias
    weight = torch.tensor(factors, dtype=torch.float32, device=frames.device).T
    bias = None if bias is None else torch.tensor(bias, dtype=torch.float32, device=frames.device)
    return F.linear(frames.movedim(1, -1), weight, bias).movedim(-1, 1)


def sheet(frames: Tensor) -> tuple[Tensor, int, int]:
    """Frames `(n, 3, h, w)` row by row in one picture `(rows * h, columns * w, 3)`, about square; columns and rows."""
    n, channels, height, width = frames.shape
    columns = min(n, math.ceil(math.sqrt(n * height / width)))
    rows = math.ceil(n / columns)
    cells = torch.cat([frames, frames.new_full((rows * columns - n, channels, height, width), -1.0)])
    cells = cells.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2)  # (rows, h, columns, w, 3)
    return cells.reshape(rows * height, columns * width, channels), columns, rows


def jpeg(picture: Tensor) -> str:
    """A picture `(H, W, 3)` in [-1, 1] as JPEG in base64."""
    octets = ((picture.clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)
    file = BytesIO()
    Image.fromarray(octets.contiguous().numpy()).save(file, "JPEG", quality=85, subsampling=0)
    return base64.b64encode(file.getvalue()).decode("ascii")


def watched() -> Any | None:
    """The host's server while a client watches a node run; None without one."""
    try:
        from server import PromptServer
    except ImportError:
        return None
    server = getattr(PromptServer, "instance", None)
    watching = server is not None and server.client_id is not None and server.last_node_id is not None
    return server if watching else None


class ClipPreview:
    """Sends the clip so far to the browser while it is sampled, a few times per second.

    It never stops the sampling: an error is logged once, and the rest of the run has no preview.
    """

    def __init__(self, model: Any) -> None:
        self.format, self.due, self.off = model.model.latent_format, 0.0, False

    def step(self, step: int, x0: Tensor, x: Tensor, total: int) -> None:
        """A sampler's callback. x0 `(1, C, T, H, W)`, or frames as batch `(T, C, H, W)`."""
        began = time.monotonic()
        if self.off or (began < self.due and step + 1 < total) or (server := watched()) is None:
            return
        try:
            message = self.message(x0)
        except (OSError, RuntimeError, ValueError, TypeError, AttributeError):
            logging.warning("Lumiere: this clip is not previewed.", exc_info=True)
            message = None
        if message is None:
            self.off = True
            return
        # At most a tenth of the time goes into pictures, however quick the steps are.
        self.due = began + max(PAUSE, 10 * (time.monotonic() - began))
        place = {"node": server.last_node_id, "step": step + 1, "steps": total}
        server.send_sync(EVENT, {**message, **place}, server.client_id)

    def message(self, x0: Tensor) -> dict[str, Any] | None:
        """What is sent of x0; None where it has no simple colours."""
        frames = in_colour(x0, self.format)
        if frames is None:
            return None
        picture, columns, rows = sheet(frames)
        length = x0.shape[2] if x0.ndim == 5 else len(x0)
        stretch = getattr(self.format, "temporal_downscale_ratio", 1)  # frames that a latent step stands for
        return {
            "jpeg": jpeg(picture),
            "columns": columns,
            "rows": rows,
            "frames": len(frames),
            "width": frames.shape[3],
            "height": frames.shape[2],
            "fps": PREVIEW_FPS / stretch / math.ceil(length / MOST),
            "length": length,
        }
