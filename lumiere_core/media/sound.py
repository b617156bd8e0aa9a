"""The sound of a video file, cut to the clip that is made of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from .video import Sound, opened, pyav

RATE = 48_000  # samples per second; Opus has no 44.1 kHz


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

    def until(self, seconds: float) -> None:
        """Encode what is heard before `seconds`."""
        need = round(seconds * RATE) - self.given
        while self.rest.shape[1] < need and (block := next(self.samples, None)) is not None:
            self.rest = np.concatenate([self.rest, block], 1)
        block, self.rest = self.rest[:, :need], self.rest[:, need:]
        if block.shape[1]:
            frame = pyav().AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", self.layout)
            frame.sample_rate, frame.pts, frame.time_base = RATE, self.given, Fraction(1, RATE)
            self.given += block.shape[1]
            self.container.mux(self.stream.encode(frame))

    def end(self) -> None:
        self.container.mux(self.stream.encode(None))


def _samples(sound: Sound, layout: str) -> Iterator[np.ndarray]:
    """The sound from its start on as blocks `(channels, N)` in [-1, 1]; silence where it begins late."""
    resampler, ahead = pyav().AudioResampler("fltp", layout, RATE), None  # samples until the start
    try:
        with opened(sound.path) as source:
            for frame in itertools.chain(source.decode(source.streams.audio[0]), [None]):
                if ahead is None:
                    ahead = round((sound.start - float(frame.time or 0)) * RATE) if frame else 0
                for block in resampler.resample(frame):
                    data = np.pad(block.to_ndarray(), ((0, 0), (max(0, -ahead), 0)))
                    skipped = min(max(0, ahead), data.shape[1])
                    ahead = max(0, ahead) - skipped
                    yield data[:, skipped:]
    except pyav().error.FFmpegError as error:
        raise ValueError(
            f"the sound of {sound.path.name} is damaged. Leave it out, or convert it."
        ) from error
