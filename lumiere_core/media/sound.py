"""The sound of a video file, cut to the clip that is made of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .video import opened, pyav

RATE = 48_000  # samples per second; Opus has no 44.1 kHz


@dataclass(frozen=True)
class Sound:
    """The sound of the video file `path`, from `start` seconds after its first frame on."""

    path: Path
    start: float = 0.0


class SoundTrack:
    """A sound encoded into an open container while its frames are: what comes after the last frame is left out."""

    def __init__(self, container: Any, codec: str, sound: Sound) -> None:
        self.container, self.sound = container, sound
        with opened(sound.path) as source:
            channels = source.streams.audio[0].codec_context.channels
        self.layout = "mono" if channels == 1 else "stereo"
        self.stream = container.add_stream(codec, rate=RATE, layout=self.layout)
        self.samples = _samples(sound, self.layout)
        self.rest = np.zeros((1 if channels == 1 else 2, 0), np.float32)
        self.given = 0

    def until(self, seconds: float, last: bool = False) -> None:
        """Encode what is heard before `seconds`; `last` ends the track there."""
        need = round(seconds * RATE) - self.given
        while self.rest.shape[1] < need and (block := next(self.samples, None)) is not None:
            self.rest = np.concatenate([self.rest, block], 1)
        length = self.stream.codec_context.frame_size or 1024
        while need >= length and self.rest.shape[1] >= length:
            self._encode(length)
            need -= length
        if last:
            if 0 < (left := min(need, self.rest.shape[1])):
                self._encode(left)
            self.container.mux(self.stream.encode(None))

    def _encode(self, length: int) -> None:
        block, self.rest = self.rest[:, :length], self.rest[:, length:]
        format = self.stream.codec_context.format.name  # fltp, or flt
        data = block if format.endswith("p") else block.T.reshape(1, -1)
        frame = pyav().AudioFrame.from_ndarray(np.ascontiguousarray(data), format, self.layout)
        frame.sample_rate, frame.pts = RATE, self.given
        self.given += length
        self.container.mux(self.stream.encode(frame))


def _samples(sound: Sound, layout: str) -> Iterator[np.ndarray]:
    """The sound from its start on as blocks `(channels, N)` in [-1, 1]; silence where it begins late."""
    resampler = pyav().AudioResampler("fltp", layout, RATE)
    with opened(sound.path) as source:
        video = source.streams.video[0]
        begin = float((video.start_time or 0) * video.time_base) + sound.start
        ahead = None  # samples until the start; silence where it is negative
        for frame in itertools.chain(source.decode(source.streams.audio[0]), [None]):
            if frame is not None and ahead is None:
                ahead = round((begin - float(frame.time or 0)) * RATE)
            for block in resampler.resample(frame):
                data = block.to_ndarray()
                if ahead is not None and ahead < 0:
                    yield np.zeros((data.shape[0], -ahead), np.float32)
                    ahead = 0
                yield data[:, min(ahead or 0, data.shape[1]) :]
                ahead = max(0, (ahead or 0) - data.shape[1])
