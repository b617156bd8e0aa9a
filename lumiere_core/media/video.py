"""A video file as frames: at the speed, the right way up and in the colours in which a player shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

# Files that hold their frames themselves. Playlists and lists of files (hls, dash, concat, sdp, image sequences) are
# left out: they make the reader open other files, or addresses on the network.
CONTAINERS = (
    "mov,mp4,matroska,webm,avi,gif,apng,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,nut,ivf,dv,wtv,h264,hevc,m4v,mjpeg,y4m,"
    "yuv4mpegpipe"
)
FASTEST_GUESS = 240.0  # frames per second for a clip whose frames come at uneven times


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
def opened(path: Path) -> Iterator[Any]:
    """The container of an existing file, and never of an address: its name is not parsed, nor are playlists read."""
    av = pyav()
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    with av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace") as container:
        yield container


class VideoFile:
    """The frames of a video file, uint8 `(H, W, 3)` in sRGB, read anew at every pass: never all in memory.

    `count`, `height`, `width` and `fps` are those of the frames that come, which differ from the file's own where it is
    turned by a display matrix, has pixels that are not square (they become so), or a variable frame rate (frames are
    repeated or left out, so that the clip lasts as long as it does in a player). Of several video streams it is the
    default one, of these the largest. `comment` is the file's, as `describe` wrote it; `sounds` says if it has sound.
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
            self.comment: str = read_comment_of(container.metadata)
            self.sounds: bool = bool(container.streams.audio)
            said = stream.frames  # by the header, 0 where it does not say
            self._plan(stream, container.demux(stream), said)
        with self._readable(), opened(self.path) as container:
            first = next(container.decode(container.streams[self._stream]))
            self._look(first, container.streams[self._stream].sample_aspect_ratio)

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pyav().error.FFmpegError, OSError, StopIteration) as error:
            raise ValueError(
                f"{self.name} cannot be read as a video: it is none, or cut, or damaged. Convert it to mp4 and try again."
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

    def _plan(self, stream: Any, packets: Iterator[Any], said: int) -> None:
        """When each frame is shown: read off the packets, without decoding one."""
        base, shown, last, found = stream.time_base, [], 0, 0
        for packet in packets:
            found += packet.size > 0
            if packet.size and not packet.is_discard:  # an edit list leaves some out
                shown.append(packet.pts if packet.pts is not None else packet.dts)
                last = packet.duration or 0
        if not shown or found < said:
            raise ValueError(
                f"{self.name} is cut or damaged: {found} of its {said or ''} frames are there. Copy it again."
            )
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        if None in shown or len(set(shown)) < len(shown):  # old containers keep no times
            shown = list(range(len(shown)))
            base, last = Fraction(1 / rate).limit_denominator(100_000), 1
        self._pts = sorted(shown)
        times = (np.array(self._pts, np.float64) - self._pts[0]) * float(base)
        gaps = np.diff(times)
        if len(times) > 1:
            even = float(gaps.mean())
            fitting = rate if abs(rate * even - 1) < 0.01 else 1 / even
            if np.abs(times - np.arange(len(times)) / fitting).max() < 0.5 / fitting:
                starts, total = np.arange(len(times)), len(times)  # each frame once
            else:  # nine in ten frames are shown, and none is missing where the rate only has holes
                fitting = min(FASTEST_GUESS, 1 / float(np.quantile(gaps, 0.1)))
                starts = np.ceil(times * fitting - 0.5).astype(int)
                total = max(starts[-1] + 1, round((times[-1] + (last * float(base) or even)) * fitting))
        else:
            fitting, starts, total = rate, np.zeros(1, int), 1
        self.fps, self.count = fitting, int(total)
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
        av = pyav()
        options = {}
        if (
            int(frame.colorspace) == 2 and not frame.format.is_rgb
        ):  # untagged: what mpv and browsers take it for
            large = self._size[0] >= 1280 or self._size[1] > 576
            options["src_colorspace"] = av.video.reformatter.Colorspace["ITU709" if large else "ITU601"]
        width, height = self._square
        pixels = frame.reformat(width, height, "rgb24", **options).to_ndarray()
        a, b, c, d = self._turn  # x' = ax + cy, y' = bx + dy
        if not self._upright:
            pixels, a, d = pixels.swapaxes(0, 1), c, b
        return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])

    def __iter__(self) -> Iterator[np.ndarray]:
        given, before = 0, None
        with self._readable(), opened(self.path) as container:
            stream = container.streams[self._stream]
            stream.thread_type = "AUTO"
            for i, frame in enumerate(container.decode(stream)):
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


def read_comment_of(metadata: dict[str, str]) -> str:
    return next((value for key, value in metadata.items() if key.lower() == "comment"), "")
