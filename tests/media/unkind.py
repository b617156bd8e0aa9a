"""Clips as people have them, made by ffmpeg: what each is, is in the arguments."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg

H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
RED = "color=0xC81E1E:s={}:r=10:d=0.3"  # (200, 30, 30)


def ffmpeg(*args: str | Path) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *map(str, args)]
    subprocess.run(command, check=True)


def drawn(path: Path, seconds: float = 1, rate: str = "10", size: str = "64x48", *args: str) -> Path:
    """ffmpeg's test picture, which has another colour at every corner and counts seconds."""
    codec = args or H264
    ffmpeg("-f", "lavfi", "-i", f"testsrc=s={size}:r={rate}:d={seconds}", "-g", "10", *codec, path)
    return path


def uneven(path: Path) -> Path:
    """Twenty frames a second for 2 s, then five a second for 2 s: 49 frames in 4 s."""
    keep = "select='lt(t,2)+not(mod(n,4))'"
    source = "testsrc=s=64x48:r=20:d=4"
    ffmpeg("-f", "lavfi", "-i", source, "-vf", keep, "-fps_mode", "vfr", *H264, path)
    return path


def with_sound(path: Path, video: float, sound: float) -> Path:
    """Silence for a second, then a tone."""
    ffmpeg(
        "-f", "lavfi", "-i", f"testsrc=s=64x48:r=10:d={video}",
        "-f", "lavfi", "-i", f"aevalsrc=gte(t\\,1)*sin(2*PI*440*t):s=44100:d={sound}", *H264, "-c:a", "aac", path,
    )  # fmt: skip
    return path


def two_streams(path: Path, default: int | None) -> Path:
    """A small test picture and a large red one; one of them is the default, or none."""
    flags = [f"-disposition:{i} {'default' if i == default else 0}".split() for i in (0, 1)]
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=1", "-f", "lavfi", "-i", "color=red:s=160x96:r=25:d=1",
        "-map", "0", "-map", "1", *H264, *flags[0], *flags[1],
        *(["-default_mode", "passthrough"] if path.suffix == ".mkv" else []), path,
    )  # fmt: skip
    return path


def red(path: Path, size: str, matrix: str, tagged: bool = True, full: bool = False) -> Path:
    """One red in a colour matrix, with or without the tags that say which."""
    kept = f"colorspace={matrix}:range={'pc' if full else 'tv'}"
    unknown = "colorspace=unknown:range=unknown:color_primaries=unknown:color_trc=unknown"
    matrix = {"bt2020nc": "bt2020"}.get(matrix, matrix)
    scale = f"scale=out_color_matrix={matrix}:out_range={'pc' if full else 'tv'}"
    filters = f"{scale},format={'yuvj420p' if full else 'yuv420p'},setparams={kept if tagged else unknown}"
    ffmpeg(
        "-f", "lavfi", "-i", RED.format(size), "-vf", filters,
        "-c:v", "libx264", "-qp", "4", path,
    )  # fmt: skip
    return path


def cut(path: Path, part: float) -> Path:
    """The file's beginning only."""
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    return path


def spoilt(path: Path) -> Path:
    """Forty bytes in the middle are others."""
    data = bytearray(path.read_bytes())
    for i in range(40):
        data[len(data) // 3 + i * len(data) // 120] ^= 0x5A
    path.write_bytes(data)
    return path
