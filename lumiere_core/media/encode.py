"""Frames into an mp4, webm or gif file as they come, tagged with the colours they are in."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..limits import LIMITS
from .sound import SoundTrack
from .video import Sound, VideoFile, opened, pyav


@dataclass(frozen=True)
class ClipFormat:
    """How clips are written under one ending: codec, layout of the pixels, and the most frames per second."""

    codec: str
    pixels: str
    sound: str | None = None  # its codec
    options: dict[str, str] = field(default_factory=dict)  # the codec's
    container: dict[str, str] = field(default_factory=dict)
    fastest: float = LIMITS["file.fps"].high


FORMATS = {
    ".mp4": ClipFormat(
        "libx264",
        "yuv420p",
        "aac",
        # The frames it works on side by side, and those it looks ahead at, are held: the preset's 40 are 1.4 GB of 4K.
        {"crf": "10", "preset": "medium", "threads": "4"},
        {"movflags": "+faststart+use_metadata_tags"},
    ),
    ".webm": ClipFormat("libvpx-vp9", "yuv420p", "libopus", {"crf": "12", "b": "0", "row-mt": "1"}),
    ".gif": ClipFormat(
        "gif", "pal8", container={"loop": "0"}, fastest=50
    ),  # browsers slow down what is faster
}
AHEAD = 100_000_000  # bytes of frames to look ahead at: 10 frames up to 1080p, 9 of 1440p, 4 of 4K and 8K
# What a GIF is made of once all its frames, and so its palette, are known: without loss, and quick.
_SPOOL = ClipFormat("ffv1", "bgr0")


@contextlib.contextmanager
def _encoder_errors() -> Iterator[None]:
    """What PyAV raises while writing, as the OSError of a place that cannot be written."""
    try:
        yield
    except pyav().error.FFmpegError as error:
        raise OSError(error.strerror or str(error)) from error


def encode_frames(
    part: Path,
    format: ClipFormat,
    frames: Iterable[np.ndarray],
    rate: Fraction,
    comment: str,
    sound: Sound | None = None,
) -> None:
    """Send frames to an encoder, and count what got there: on a full disk some end without a word."""
    av = pyav()
    sent, target, track = 0, f"file:{part.absolute()}", None
    with _encoder_errors():
        with av.open(target, "w", options=format.container) as out:
            out.metadata["comment"] = comment
            stream = out.add_stream(format.codec, rate=rate, options=format.options)
            stream.pix_fmt = format.pixels
            if format.pixels == "yuv420p":
                _tag(stream.codec_context)
            for frame in frames:
                picture = frame if isinstance(frame, av.VideoFrame) else _picture(frame, format.pixels)
                if not sent:
                    stream.width, stream.height = picture.width, picture.height
                    if format.codec == "libx264":
                        ahead = AHEAD // (3 * picture.width * picture.height)
                        stream.options = {**format.options, "rc-lookahead": str(max(4, min(10, ahead)))}
                    if sound and format.sound:
                        track = SoundTrack(out, format.sound, sound)
                picture.pts, picture.time_base = sent, 1 / rate
                out.mux(stream.encode(picture))
                sent += 1
                if track:
                    track.until(float(sent / rate))
            if not sent:
                raise ValueError("there are no frames to write.")
            out.mux(stream.encode(None))
            if track:
                track.end()
        with opened(part) as written:
            found = sum(packet.size > 0 for packet in written.demux(video=0))
    if found < sent:
        raise OSError(f"only {found} of {sent} frames got there")


def _tag(context: Any) -> None:
    """sRGB pictures as limited-range bt709, and said so: untagged files come out darker or lighter elsewhere."""
    context.color_range = context.colorspace = context.color_primaries = context.color_trc = 1


def _picture(frame: np.ndarray, pixels: str) -> Any:
    """A uint8 `(H, W, 3)` frame as PyAV's, in the layout of an encoder; yuv420p has even sides."""
    if pixels != "yuv420p":
        return pyav().VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24").reformat(format=pixels)
    frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
    picture = pyav().VideoFrame.from_ndarray(frame, "rgb24")
    picture = picture.reformat(
        format=pixels, src_colorspace=5, dst_colorspace=1, src_color_range=2, dst_color_range=1
    )
    picture.colorspace = picture.color_range = 1
    return picture


def encode_gif(part: Path, frames: Iterable[np.ndarray], rate: Fraction, comment: str) -> None:
    """One palette for all frames, so that what stands still does not shimmer: they are looked at twice more, in a file
    beside the result.
    """
    spool, silent = part.with_suffix(".mkv"), part.with_suffix(".silent.gif")
    try:
        encode_frames(spool, _SPOOL, frames, rate, "")
        again = VideoFile(spool)
        with _encoder_errors():
            palette = next(_filtered(again, rate, "palettegen", "stats_mode=diff"))
            coloured = _filtered(again, rate, "paletteuse", "dither=bayer", palette)
            encode_frames(silent, FORMATS[".gif"], coloured, rate, "")
        if comment:
            _add_gif_comment(silent, part, comment)
        else:
            silent.replace(part)
    finally:
        spool.unlink(missing_ok=True)
        silent.unlink(missing_ok=True)


def _add_gif_comment(silent: Path, told: Path, comment: str) -> None:
    """Copy a GIF with a comment block before its frames, which ffmpeg does not write, nor Pillow without coding the
    frames again.
    """
    text = comment.encode("utf-8")
    blocks = (text[i : i + 255] for i in range(0, len(text), 255))
    with silent.open("rb") as source, told.open("wb") as target:
        head = source.read(13)
        colours = source.read(3 << ((head[10] & 7) + 1) if head[10] & 128 else 0)
        target.write(head + colours + b"\x21\xfe")
        target.write(b"".join(bytes([len(block)]) + block for block in blocks) + b"\x00")
        shutil.copyfileobj(source, target)


def _filtered(
    frames: Iterable[np.ndarray], rate: Fraction, name: str, options: str, palette: Any = None
) -> Iterator[Any]:
    """Frames through one of ffmpeg's filters, which may want a palette beside them."""
    av = pyav()
    graph, source = av.filter.Graph(), None
    for i, frame in enumerate(itertools.chain(frames, [None])):
        picture = None if frame is None else _picture(frame, "bgr0")
        if source is None:
            source, sink, filter = (
                _buffer(graph, picture, rate),
                graph.add("buffersink"),
                graph.add(name, options),
            )
            source.link_to(filter, 0, 0)
            if palette:
                second = _buffer(graph, palette, rate)
                second.link_to(filter, 0, 1)
            filter.link_to(sink)
            graph.configure()
            if palette:
                second.push(palette)
                second.push(None)
        if picture:
            picture.pts, picture.time_base = i, 1 / rate
        source.push(picture)
        with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                yield sink.pull()


def _buffer(graph: Any, like: Any, rate: Fraction) -> Any:
    return graph.add_buffer(width=like.width, height=like.height, format=like.format, time_base=1 / rate)
