"""Clips in and out of files: mp4, webm, gif or a folder of PNG pictures, with what made them in the metadata.

In here a clip is `(3, T, H, W)` float32 in [-1, 1], the engine's sample range without its batch axis, or, where it need
not fit into memory, an iterator of uint8 frames `(H, W, 3)`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..limits import LIMITS, check
from ..outputs import check_output, place, unfinished
from .encode import FORMATS, encode_frames, encode_gif
from .memory import check_memory, gigabytes
from .pictures import picture_comment, pillow, save_png
from .video import Sound, VideoFile, comment_of, opened, pyav

MARK = "AI-generated"


def to_pixels(clip: Tensor) -> np.ndarray:
    """`(3, T, H, W)` in [-1, 1] -> uint8 `(T, H, W, 3)`; values outside are clipped."""
    return (
        (clip.permute(1, 2, 3, 0).float().clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8).cpu().numpy()
    )


def from_pixels(pixels: np.ndarray) -> Tensor:
    """The inverse of `to_pixels`."""
    return torch.from_numpy(pixels).permute(3, 0, 1, 2).float() / 127.5 - 1


def describe(facts: dict[str, Any], mark: str = f"{MARK}. ") -> str:
    """What goes into a file's comment: the plain mark first (empty where no model had a hand), then facts as JSON."""
    said = json.dumps({"software": "lumiere", **facts}, ensure_ascii=False)
    return mark + said.encode("utf-8", "backslashreplace").decode()  # a file's name may be no UTF-8


def read_clip(path: str | Path) -> tuple[Tensor, float]:
    """A whole video file: `(3, T, H, W)` in [-1, 1] and its frames per second. Raises ValueError for anything else.

    For short clips, and refused where memory does not hold it twice; `VideoFile` gives one frame at a time.
    """
    video = VideoFile(path)
    check_memory(
        f"the {video.count} frames of {video.name}",
        2 * gigabytes(video.count, video.height, video.width),
        "Cut the clip first.",
    )
    return from_pixels(np.stack(list(video))), video.fps


def read_comment(path: str | Path) -> str:
    """The comment of a video or picture file, as `describe` wrote it; empty where there is none."""
    with contextlib.suppress(pyav().error.FFmpegError), opened(Path(path)) as container:
        return comment_of(container)
    return picture_comment(Path(path))


def mark_of(*sources: str | Path | None) -> str:
    """The mark for what is made of these files: a model's hand in one of them stays said."""
    made = any(source is not None and read_comment(source).startswith(MARK) for source in sources)
    return f"{MARK}. " if made else ""


def check_clip(path: str | Path, fps: float, *inputs: str | Path | None, overwrite: bool = False) -> None:
    """Raises ValueError for what `write_frames` refuses in any clip, and where `path` is one of `inputs`.

    A caller asks before the work.
    """
    path = Path(path)
    check_output(path, (*FORMATS, ""), *inputs, overwrite=overwrite)
    format = FORMATS.get(path.suffix.lower())
    check("file.fps", fps)
    if format and fps > format.fastest:
        raise ValueError(
            f"fps is {fps:g}, but {path.suffix} takes at most {format.fastest:g}. Try {LIMITS['file.fps'].advice:g}."
        )
    if not format:
        pillow()
    elif format.codec not in pyav().codecs_available:
        raise ValueError(
            f"this PyAV cannot write {path.suffix}. Install the one of PyPI, or choose another ending."
        )


def keeps_sound(path: str | Path) -> bool:
    """Whether clips of this name can have sound."""
    format = FORMATS.get(Path(path).suffix.lower())
    return bool(format and format.sound)


def write_clip(
    path: str | Path, clip: Tensor, fps: float, facts: dict[str, Any] | None = None, overwrite: bool = False
) -> Path:
    """Write `(3, T, H, W)` in [-1, 1] at `fps`; the suffix says how: .mp4, .webm, .gif, or none for a PNG folder.

    facts (prompt, seed, settings, weights hash) go into the file's comment after a plain "AI-generated". The rest is as
    in `write_frames`.
    """
    frames = (to_pixels(clip[:, t : t + 1])[0] for t in range(clip.shape[1]))
    return write_frames(path, frames, fps, describe(facts or {}), overwrite=overwrite)


def write_frames(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float,
    comment: str,
    sound: Sound | None = None,
    overwrite: bool = False,
) -> Path:
    """Write uint8 frames `(H, W, 3)` as they come: the clip need not fit into memory. Where it went is returned: a
    name that is taken gets a number, unless `overwrite` is said, and then it is replaced by a finished file only.

    Sides of odd length are padded by one pixel in .mp4 and .webm. `sound` is cut to the frames; a .gif and a folder
    have none. Nothing half-written stays behind. Raises ValueError.
    """
    path = Path(path)
    check_clip(path, fps, overwrite=overwrite)
    rate = Fraction(fps).limit_denominator(1001)  # 29.97 is 30000/1001
    with unfinished(path) as part:
        if not path.suffix:
            part.mkdir()
            for i, frame in enumerate(frames):
                save_png(part / f"{i:05d}.png", frame, comment)
        elif path.suffix.lower() == ".gif":
            encode_gif(part, frames, rate, comment)
        else:
            encode_frames(part, FORMATS[path.suffix.lower()], frames, rate, comment, sound)
        return place(part, path, overwrite)
