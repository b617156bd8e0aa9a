"""Clips in and out of files: mp4, webm, gif or a folder of PNG pictures, with what made them in the metadata.

In here a clip is `(3, T, H, W)` float32 in [-1, 1], the engine's sample range without its batch axis.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..media.pictures import opencv
from .video import VideoFile

# sRGB pictures as limited-range bt709, and said so: untagged files come out darker or lighter elsewhere.
_BT709 = [
    "-vf",
    "scale=out_color_matrix=bt709:out_range=tv",
    "-colorspace",
    "bt709",
    "-color_primaries",
    "bt709",
    "-color_trc",
    "bt709",
    "-color_range",
    "tv",
]
_PALETTE = [
    "-filter_complex",
    "split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=bayer",
    "-loop",
    "0",
]
FORMATS: dict[str, dict[str, Any]] = {
    ".mp4": {
        "codec": "libx264",
        "pix_fmt_out": "yuv420p",
        "quality": None,
        "output_params": [
            "-crf",
            "10",
            "-preset",
            "medium",
            *_BT709,
            "-movflags",
            "+faststart+use_metadata_tags",
        ],
    },
    ".webm": {
        "codec": "libvpx-vp9",
        "pix_fmt_out": "yuv420p",
        "quality": None,
        "output_params": ["-crf", "12", "-b:v", "0", "-row-mt", "1", *_BT709],
    },
    ".gif": {"codec": "gif", "pix_fmt_out": "pal8", "quality": None, "output_params": _PALETTE},
}
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
    return mark + json.dumps({"software": "lumiere", **facts}, ensure_ascii=False)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place to write to, moved to `path` only when all went well. Raises ValueError where that cannot be."""
    part = path.with_name(f".part-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        yield part
        os.replace(part, path)
    except OSError as error:
        reason = (error.strerror or str(error)).strip().splitlines()
        raise ValueError(
            f"{path} cannot be written: {reason[-1] if reason else 'no reason given'}. Choose another "
            "folder, or make room on the disk."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def check_folder(path: Path) -> None:
    """Raises ValueError where nothing can be written beside `path`; folders that are not there yet can be made."""
    folder = next(p for p in path.absolute().parents if p.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"{path} cannot be written: {folder} is no folder to write to. Choose another.")


def check_encoder() -> None:
    """Raises ValueError where imageio-ffmpeg brings no ffmpeg for this system."""
    import imageio_ffmpeg

    try:
        imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise ValueError(
            "there is no ffmpeg for this system. Install it, or set IMAGEIO_FFMPEG_EXE to one."
        ) from error


def check_clip(path: Path, fps: float) -> None:
    """Raises ValueError for what `write_clip` refuses in any clip: a caller may ask before the work."""
    if not 0 < fps <= 240:
        raise ValueError(f"fps is {fps:g}, but it has to be above 0 and at most 240. Try 16.")
    if path.suffix and path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"{path.name} ends in {path.suffix}, but clips are written as {', '.join(FORMATS)}, or into a "
            "folder of PNG pictures where the name has no ending."
        )
    if path.suffix and path.is_dir():
        raise ValueError(f"{path} is a folder. Choose another name for the clip.")
    check_folder(path)
    if path.suffix:
        check_encoder()
    else:
        opencv()
    if not path.suffix and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(
            f"the folder {path} has something in it. Choose a new name, so that nothing is overwritten."
        )


def write_clip(path: str | Path, clip: Tensor, fps: float, facts: dict[str, Any] | None = None) -> Path:
    """Write `(3, T, H, W)` in [-1, 1] at `fps`; the suffix says how: .mp4, .webm, .gif, or none for a PNG folder.

    facts (prompt, seed, settings, weights hash) go into the file's comment after a plain "AI-generated". Odd sizes are
    padded by one pixel where the format wants even ones. Nothing half-written stays behind. Raises ValueError.
    """
    return write_frames(path, to_pixels(clip), fps, describe(facts or {}))


def write_frames(path: str | Path, frames: Iterable[np.ndarray], fps: float, comment: str) -> Path:
    """Write uint8 frames `(H, W, 3)` as they come, as `write_clip` does: the clip need not fit into memory."""
    path = Path(path)
    check_clip(path, fps)
    if not path.suffix:
        return _write_folder(path, frames, comment)
    options = dict(FORMATS[path.suffix.lower()])
    options["output_params"] = [*options["output_params"], "-metadata", f"comment={comment}"]
    even = path.suffix.lower() != ".gif"
    with whole_file(path) as part:
        sent = _encode(part, map(_even, frames) if even else frames, fps, options)
        written = _count_frames(part)  # on a full disk the encoder ends without a word
        if written < sent:
            raise OSError(f"only {written} of {sent} frames got there")
        if path.suffix.lower() == ".gif":
            part.write_bytes(_with_gif_comment(part.read_bytes(), comment))
    return path


def _even(frame: np.ndarray) -> np.ndarray:
    """The frame with sides padded to even numbers of pixels."""
    return np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")


def _encode(path: Path, frames: Iterable[np.ndarray], fps: float, options: dict[str, Any]) -> int:
    """Send frames to the encoder; how many there were."""
    import imageio_ffmpeg

    writer, sent = None, 0
    try:
        for frame in frames:
            if writer is None:
                writer = imageio_ffmpeg.write_frames(
                    str(path),
                    frame.shape[1::-1],
                    fps=fps,
                    macro_block_size=1,
                    ffmpeg_log_level="error",
                    **options,
                )
                writer.send(None)
            writer.send(np.ascontiguousarray(frame))
            sent += 1
    finally:
        if writer is not None:
            writer.close()
    return sent


def _count_frames(path: Path) -> int:
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.count_frames_and_secs(str(path))[0]
    except RuntimeError:
        return 0


def _with_gif_comment(data: bytes, comment: str) -> bytes:
    """A GIF with a comment block before its trailer (ffmpeg writes none)."""
    text = comment.encode("utf-8")
    blocks = b"".join(bytes([len(text[i : i + 255])]) + text[i : i + 255] for i in range(0, len(text), 255))
    return data[:-1] + b"\x21\xfe" + blocks + b"\x00" + data[-1:]


def png_bytes(image: np.ndarray, comment: str = "") -> bytes:
    """A uint8 `(H, W, 3)` picture as PNG, the comment in an iTXt chunk."""
    data = opencv().imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
    if not comment:
        return data
    body = b"iTXt" + b"Comment\x00\x00\x00\x00\x00" + comment.encode("utf-8")
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return data[:33] + chunk + data[33:]  # after the signature and the header chunk


def write_image(path: str | Path, image: np.ndarray, comment: str = "") -> Path:
    """Write one uint8 `(H, W, 3)` picture as PNG."""
    path = Path(path)
    with whole_file(path) as part:
        part.write_bytes(png_bytes(image, comment))
    return path


def _write_folder(path: Path, frames: Iterable[np.ndarray], comment: str) -> Path:
    """Frame pictures 00000.png, 00001.png, ... in a folder that must be new or empty."""
    part = path.with_name(f".part-{path.name}")
    try:
        shutil.rmtree(part, ignore_errors=True)  # a stopped run may have left one
        part.mkdir(parents=True)
        for i, frame in enumerate(frames):
            (part / f"{i:05d}.png").write_bytes(png_bytes(frame, comment))
        if path.exists():
            path.rmdir()
        os.replace(part, path)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written: {error.strerror or error}. Choose another folder."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return path


def read_clip(path: str | Path) -> tuple[Tensor, float]:
    """A whole video file: `(3, T, H, W)` in [-1, 1] and its frames per second. Raises ValueError for anything else.

    `VideoFile` reads one frame at a time; this is for short clips.
    """
    video = VideoFile(path)
    return from_pixels(np.stack(list(video))), video.fps


def read_comment(path: str | Path) -> str:
    """The comment of a video file, as `describe` wrote it; empty where there is none."""
    return VideoFile(path).comment
