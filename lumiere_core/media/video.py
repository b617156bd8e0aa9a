"""A video file as frames: at the speed, the right way up and in the colours in which a player shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..limits import LIMITS

# Files that hold their frames themselves. Playlists and lists of files (hls, dash, concat, sdp, image sequences) are
# left out: they make the reader open other files, or addresses on the network.
CONTAINERS = (
    "mov,mp4,matroska,webm,avi,gif,apng,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,nut,ivf,dv,wtv,h264,hevc,m4v,mjpeg,y4m,"
    "yuv4mpegpipe"
)
THREADS = 4  # of a decoder: each holds frames of its own, on a machine of 64 cores a gigabyte of 4K
FASTEST_GUESS = LIMITS["fps"].high  # frames per second for a clip whose frames come at uneven times
# swscale's flags bicubic, accurate_rnd and full_chroma_int: without the last two a clip is up to two levels darker.
EXACT = 4 | 0x40000 | 0x2000
# swscale's number for the matrix of a frame's tag (AVColorSpace): bt709, FCC, bt601 (625 and 525 lines), 240M, bt2020.
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


def pyav() -> ModuleType:
    """The module av, imported late. Raises ValueError where it is missing or broken."""
    try:
        import av
    except ImportError as error:
        raise ValueError(
            f"PyAV cannot be imported ({error}). ComfyUI brings it; elsewhere: python -m pip install av"
        ) from error
    return av


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """The container of an existing file, and never of an address: its name is not parsed, nor are playlists read."""
    av = pyav()
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    with av.open(f"file:{Path(path).absolute()}", options=options, metadata_errors="replace") as container:
        yield container


@dataclass(frozen=True)
class Sound:
    """The sound of a file from `start` seconds of its own clock on, for `write_frames`."""

    path: Path
    start: float


class VideoFile:
    """The frames of a video file, uint8 `(H, W, 3)` in sRGB, read anew at every pass: never all in memory.

    `count`, `height`, `width` and `fps` are those of the frames that come, which differ from the file's own where it is
    turned by a display matrix, has pixels that are not square (they become so), or a variable frame rate (frames are
    repeated or left out, so that the clip lasts as long as it does in a player). Of several video streams it is the
    default one, of these the largest. `comment` is the file's, as `describe` wrote it.
    Raises ValueError for anything that is no video, and at the pass for one that is cut or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        if not self.path.is_file():
            raise ValueError(f"there is no video file {path}.")
        with self._readable(), opened(self.path) as container:
            self._stream = self._choose(container)
            stream = container.streams[self._stream]
            self.comment: str = comment_of(container)
            self._sounds = bool(container.streams.audio)
            self._plan(container, stream)
        with self._readable(), opened(self.path) as container:
            first = next(container.decode(container.streams[self._stream]))
            self._look(first, container.streams[self._stream].sample_aspect_ratio)

    def sound(self, start: float = 0.0) -> Sound | None:
        """What is heard from `start` seconds after the first frame on; None for a silent file."""
        return Sound(self.path, self._begin + start) if self._sounds else None

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pyav().error.FFmpegError, OSError, StopIteration) as error:
            raise ValueError(
                f"{self.name} cannot be read as a video: it is none, or cut, or damaged. "
                "Convert it to mp4 and try again."
            ) from error

    def _choose(self, container: Any) -> int:
        av = pyav()
        streams = [
            s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            raise ValueError(f"{self.name} holds no video, only sound or a cover picture.")
        return max(
            streams,
            key=lambda s: (
                bool(s.disposition & av.stream.Disposition.default),
                s.codec_context.width * s.codec_context.height,
                -s.index,
            ),
        ).index

    def _plan(self, container: Any, stream: Any) -> None:
        """When each frame is shown: read off the packets, without decoding one."""
        base, found, shown, spans = stream.time_base, 0, {}, [[], []]
        for packet in container.demux():
            if not packet.size:
                continue
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None:  # of sound, too
                spans[0].append(time * packet.time_base)
                spans[1].append((time + (packet.duration or 0)) * packet.time_base)
            if packet.stream_index == stream.index:
                found += 1
                if not packet.is_discard:  # an edit list leaves some out
                    shown[time if time not in shown else (None, found)] = packet.duration or 0
        there = float(max(spans[1]) - min(spans[0])) if spans[0] else 0.0
        said = (container.duration or 0) / 1e6  # by the header
        if not shown or found < stream.frames or there < 0.95 * said - 0.5:
            raise ValueError(
                f"{self.name} is cut or damaged: it says {said:.1f} s, but {there:.1f} s with {len(shown)} frames are "
                "there. Copy it again."
            )
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        self._timed = all(isinstance(time, int) for time in shown)
        if not self._timed:  # old containers keep no times
            base, shown = Fraction(1 / rate).limit_denominator(100_000), dict.fromkeys(range(len(shown)), 1)
        self._pts = sorted(shown)
        last = shown[self._pts[-1]] * float(base)  # the last frame's own duration, 0 where it is not told
        times = (np.array(self._pts, np.float64) - self._pts[0]) * float(base)
        gaps = np.diff(times)
        if len(times) > 1:
            even = float(gaps.mean())
            fitting = rate if abs(rate * even - 1) < 0.01 else 1 / even
            whole = max(1, round(fitting))
            if fitting != rate and abs(len(gaps) / whole - times[-1]) <= base:
                fitting = float(whole)  # a GIF's clock ticks in 1/100 s only
            if np.abs(times - np.arange(len(times)) / fitting).max() < 0.5 / fitting:
                starts, total = np.arange(len(times)), len(times)  # each frame once
            else:  # nine in ten frames are shown, and none is missing where the rate only has holes
                fitting = min(FASTEST_GUESS, 1 / float(np.quantile(gaps, 0.1)))
                starts = np.ceil(times * fitting - 0.5).astype(int)
                total = max(starts[-1] + 1, round((times[-1] + (last or even)) * fitting))
        else:
            fitting, starts, total = rate, np.zeros(1, int), 1
        self.fps, self.count, self._begin = fitting, int(total), float(self._pts[0] * base)
        self._starts = dict(zip(self._pts, starts.tolist(), strict=True))

    def _look(self, frame: Any, aspect: Fraction | None) -> None:
        """Size, turn and colours, off the first frame."""
        self._size = frame.width, frame.height
        aspect = aspect if aspect and Fraction(1, 4) < aspect < 4 else Fraction(1)
        self._square = (
            round(frame.width * max(aspect, 1)),
            round(frame.height / min(aspect, 1)),
        )
        matrix = frame.side_data.get("DISPLAYMATRIX")
        self._turn = np.frombuffer(bytes(matrix), "<i4")[[0, 1, 3, 4]] if matrix else np.array([1, 0, 0, 1])
        self.height, self.width = self._square[::-1] if self._upright else self._square

    @property
    def _upright(self) -> bool:
        return abs(self._turn[0]) >= abs(self._turn[1])

    def _pixels(self, frame: Any) -> np.ndarray:
        """A decoded frame as uint8 `(H, W, 3)`, square pixels, the right way up."""
        tags = {} if frame.format.is_rgb or frame.format.has_palette else self._tags(frame)
        pixels = frame.reformat(*self._square, "rgb24", interpolation=EXACT, **tags).to_ndarray()
        a, b, c, d = self._turn  # x' = ax + cy, y' = bx + dy
        if not self._upright:
            pixels, a, d = pixels.swapaxes(0, 1), c, b
        return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])

    def _tags(self, frame: Any) -> dict[str, int]:
        """What a frame's numbers mean, in swscale's terms. All four are said: PyAV 14 converts only differences."""
        large = self._size[0] >= 1280 or self._size[1] > 576  # untagged ones are what mpv takes them for
        full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
        return {
            "src_colorspace": MATRICES.get(int(frame.colorspace), 1 if large else 5),
            "dst_colorspace": 5,
            "src_color_range": 2 if full else 1,  # AVColorRange
            "dst_color_range": 2,
        }

    def since(self, first: int) -> Iterator[np.ndarray]:
        """The frames from one on, the same as those of a pass; sought in the file where it shows each frame once."""
        if (
            not 0 < first < self.count
            or not self._timed
            or list(self._starts.values()) != list(range(self.count))
        ):
            yield from islice(self, max(0, first), None)
            return
        at = first
        with self._readable(), opened(self.path) as container:
            stream = container.streams[self._stream]
            stream.thread_type, stream.thread_count = "AUTO", THREADS
            container.seek(self._pts[first], stream=stream)
            for frame in container.decode(stream):
                place = self._starts.get(frame.pts, self.count)
                if place > at or (place == at and frame.is_corrupt):
                    break  # the file's marks lead astray
                if place == at:
                    at += 1
                    yield self._pixels(frame)
        if at < self.count:
            yield from islice(self, at, None)

    def __iter__(self) -> Iterator[np.ndarray]:
        given, before = 0, None
        with self._readable(), opened(self.path) as container:
            stream = container.streams[self._stream]
            stream.thread_type, stream.thread_count = "AUTO", THREADS
            for i, frame in enumerate(container.decode(stream)):
                if frame.is_corrupt:
                    raise ValueError(f"{self.name} is damaged at {given / self.fps:.1f} s. Copy it again.")
                start = self._starts.get(frame.pts, i)
                if before is not None:
                    for _ in range(given, start):
                        yield before
                    given = max(given, start)
                before = self._pixels(frame)
            missing = self.count - given
            if before is None or missing > max(self.fps, 0.1 * self.count) and len(self._pts) > 1:
                raise ValueError(
                    f"{self.name} is damaged: frames are missing from frame {given} on. Copy it again."
                )
            for _ in range(missing):
                yield before


def comment_of(container: Any) -> str:
    """The comment of an open container; empty where there is none."""
    return next((value for key, value in container.metadata.items() if key.lower() == "comment"), "")
