"""Clips filmed by code, unkind ones, whose truth is known: where the camera was, how light it was, who walked by.

`take(name)` films one. Used by `test_takes.py` and `benchmarks/steady.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from lumiere_core.photo.examples import texture

WHERE = 64  # pixels of the world around the picture


@dataclass(frozen=True)
class Take:
    """A clip and its truth."""

    clip: np.ndarray  # uint8 (T, H, W, 3)
    moves: np.ndarray | None  # (H, W), 1 moves; None where no mask is painted
    camera: np.ndarray  # (T, 3, 3): where what the first frame shows is in each frame
    light: np.ndarray  # (T, 3): gain of each channel
    clean: np.ndarray  # (H, W, 3) in [0, 1]: the first frame without noise and without subjects
    covered: np.ndarray  # bool (T, H, W): where something else than the still world is seen


def world(height: int, width: int, seed: int = 1) -> np.ndarray:
    """Houses with windows, a road, trees: detail of all sizes, and straight lines. `(H + room, W + room, 3)`."""
    h, w = height + 2 * WHERE, width + 2 * WHERE
    rng = np.random.default_rng(seed)
    light = np.asarray(texture(w, h, seed, 1.2))[..., None] * [0.08, 0.07, 0.06]
    out = np.full((h, w, 3), [0.55, 0.6, 0.66]) + light
    out[2 * h // 3 :] -= 0.2  # the road
    x = 0
    while x < w:
        across, top = int(rng.integers(w // 9, w // 5)), int(rng.integers(h // 8, h // 3))
        colour = rng.uniform(0.3, 0.75, 3)
        out[top : 2 * h // 3, x : x + across] = colour + light[top : 2 * h // 3, x : x + across]
        for wy in range(top + 8, 2 * h // 3 - 14, 24):
            for wx in range(x + 6, min(w, x + across) - 12, 20):
                out[wy : wy + 13, wx : wx + 9] = colour * rng.uniform(0.3, 0.6)
        x += across
    fine = rng.normal(0, 0.03, (h, w, 1))
    return np.clip(cv2.GaussianBlur(out + fine, (0, 0), 0.8), 0.04, 0.92).astype(np.float32)


def figure(height: int, width: int, seed: int, dark: bool) -> np.ndarray:
    """Somebody's clothes, `(H, W, 3)`: texture that corners are found on."""
    rng = np.random.default_rng(seed)
    checks = cv2.resize(rng.random((height // 6 + 1, width // 6 + 1, 3)).astype(np.float32), (width, height))
    return np.clip((0.1 if dark else 0.6) + (0.12 if dark else 0.5) * (checks - 0.5), 0, 1)


def hand(frames: int, reach: float, seed: int, turn: float = 0.0, tilt: float = 0.0) -> np.ndarray:
    """A hand's path: slow sway and quick jitter, `reach` pixels; turn in degrees, tilt as perspective. `(T, 3, 3)`."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None]
    sway = np.sin(t * rng.uniform(0.08, 0.3, (2, 5))[0] + rng.uniform(0, 6, 5)) + 0.25 * rng.normal(
        0, 1, (frames, 5)
    )
    sway -= sway[:1]
    out = np.tile(np.eye(3), (frames, 1, 1))
    for m, (x, y, a, p, q) in zip(out, sway, strict=True):
        c, s = np.cos(np.radians(turn * a)), np.sin(np.radians(turn * a))
        m[:] = [[c, -s, reach * x], [s, c, reach * y], [tilt * p, tilt * q, 1]]
    return out


def filmed(
    height: int,
    width: int,
    camera: np.ndarray,
    light: np.ndarray,
    noise: float,
    actors: Callable[[int, np.ndarray, np.ndarray], None] = lambda t, picture, cover: None,
    seed: int = 0,
    scene: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The clip, its first frame without actors and noise, and where actors are, who paint in the first frame's view."""
    rng = np.random.default_rng(seed)
    scene = world(height, width) if scene is None else scene
    middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    clip, covered = (
        np.empty((len(camera), height, width, 3), np.uint8),
        np.zeros((len(camera), height, width), bool),
    )
    room = np.array([[1, 0, -WHERE], [0, 1, -WHERE], [0, 0, 1]])
    for t, m in enumerate(camera):
        picture, cover = scene.copy(), np.zeros(scene.shape[:2], np.float32)
        inner = (slice(WHERE, -WHERE), slice(WHERE, -WHERE))
        actors(t, picture[inner], cover[inner])
        m[:] = np.linalg.inv(middle) @ m @ middle
        view = cv2.warpPerspective(picture, m @ room, (width, height), flags=cv2.INTER_LANCZOS4)
        covered[t] = cv2.warpPerspective(cover, m @ room, (width, height)) > 0
        view = view * light[t] + rng.normal(0, noise, view.shape)
        clip[t] = np.rint(view.clip(0, 1) * 255)
    return clip, scene[WHERE:-WHERE, WHERE:-WHERE], covered


def pasted(picture: np.ndarray, cover: np.ndarray, what: np.ndarray, x: float, y: float) -> None:
    """Put an actor at a place in parts of a pixel, with soft edges."""
    h, w = what.shape[:2]
    at = np.array([[1, 0, x], [0, 1, y]], float)
    size = picture.shape[1::-1]
    soft = np.pad(np.ones((h - 2, w - 2), np.float32), 1)
    alpha = cv2.warpAffine(soft, at, size)[..., None]
    picture[:] = (
        picture * (1 - alpha) + cv2.warpAffine(what, at, size, borderMode=cv2.BORDER_REPLICATE) * alpha
    )
    np.maximum(cover, alpha[..., 0], out=cover)


def take(name: str, height: int = 180, width: int = 320, frames: int = 32, seed: int = 0) -> Take:
    """Film one of TAKES."""
    camera, light, noise, actors, moves, scene = TAKES[name](height, width, frames, seed)
    clip, clean, covered = filmed(height, width, camera, light, noise, actors, seed, scene)
    return Take(clip, moves, camera, light, clean, covered)


def _even(frames: int) -> np.ndarray:
    return np.ones((frames, 3))


def _stands(frames: int) -> np.ndarray:
    return np.tile(np.eye(3), (frames, 1, 1))


def dancer(height: int, width: int, frames: int, seed: int) -> tuple:
    """A real tripod, 2 % noise, somebody who dances in a third of the picture, unpainted."""
    cloth = figure(int(0.8 * height), width // 3, seed, dark=False)

    def act(t: int, picture: np.ndarray, cover: np.ndarray) -> None:
        pasted(
            picture,
            cover,
            cloth,
            width * (0.35 + 0.08 * np.sin(0.4 * t)),
            height * (0.1 + 0.04 * np.sin(0.7 * t)),
        )

    return _stands(frames), _even(frames), 0.02, act, None, None


def fence(height: int, width: int, frames: int, seed: int) -> tuple:
    """A hand-held fence with perspective; a car drives behind its posts, inside the mask."""
    car = figure(height // 4, width // 3, seed, dark=False)
    moves = np.zeros((height, width), np.float32)
    moves[int(0.55 * height) : int(0.92 * height), int(0.2 * width) : int(0.8 * width)] = 1

    def act(t: int, picture: np.ndarray, cover: np.ndarray) -> None:
        behind, seen = picture.copy(), cover.copy()
        pasted(picture, cover, car, width * (0.22 + 0.2 * t / frames), 0.62 * height)
        for x in range(10, width, width // 7):
            picture[:, x : x + 7], cover[:, x : x + 7] = behind[:, x : x + 7], seen[:, x : x + 7]

    scene = world(height, width)
    for x in range(WHERE + 10, WHERE + width, width // 7):
        scene[WHERE // 2 :, x : x + 7] = [0.16, 0.26, 0.2]
    return (
        hand(frames, height / 40, seed + 3, 0.7, 4e-5 * 320 / width),
        _even(frames),
        0.01,
        act,
        moves,
        scene,
    )


def walker(height: int, width: int, frames: int, seed: int) -> tuple:
    """A hand-held wall; a walker as high as the picture crosses it, no mask is painted."""
    cloth = figure(height, int(0.4 * width), seed, dark=True)

    def act(t: int, picture: np.ndarray, cover: np.ndarray) -> None:
        pasted(picture, cover, cloth, width * (-0.45 + 1.5 * t / frames), 0.08 * height)

    return hand(frames, height / 60, seed + 5, 0.3), _even(frames), 0.01, act, None, None


def rolling(height: int, width: int, frames: int, seed: int) -> tuple:
    """A tripod; the exposure goes down and up, redder than blue, while someone in black enters and stays."""
    cloth = figure(height, int(0.45 * width), seed, dark=True)
    t = np.arange(frames)[:, None] / frames
    light = 1 - np.sin(np.pi * t) ** 2 * [0.18, 0.22, 0.26]

    def act(t: int, picture: np.ndarray, cover: np.ndarray) -> None:
        pasted(picture, cover, cloth, width * max(0.45, 1 - 1.1 * t / frames), 0)

    return _stands(frames), light, 0.01, act, None, None


def car(height: int, width: int, frames: int, seed: int) -> tuple:
    """A head, painted, in a car that trembles by less than a pixel; outside the window half the picture flies by."""
    rng = np.random.default_rng(seed)
    outside = world(height, 4 * width, 7)
    head = figure(height // 2, width // 4, seed, dark=False)
    moves = np.zeros((height, width), np.float32)
    moves[height // 3 :, int(0.05 * width) : int(0.42 * width)] = 1

    def act(t: int, picture: np.ndarray, cover: np.ndarray) -> None:
        top, bottom, left = int(0.12 * height), int(0.7 * height), int(0.5 * width)
        picture[top:bottom, left:-8] = outside[top:bottom, 9 * t : 9 * t + width - 8 - left]
        cover[top:bottom, left:-8] = 1
        pasted(picture, cover, head, width * (0.1 + 0.03 * np.sin(0.5 * t)), 0.45 * height)

    camera = _stands(frames)
    camera[1:, :2, 2] = rng.uniform(-0.5, 0.5, (frames - 1, 2))
    return camera, _even(frames), 0.01, act, moves, None


def crowd(height: int, width: int, frames: int, seed: int) -> tuple:
    """A tripod before a crowd that walks through, nobody painted: two thirds of what is seen is people."""
    rng = np.random.default_rng(seed)
    people = [
        (
            figure(int(0.55 * height), width // 8, k, k % 2 == 0),
            rng.uniform(-0.2, 1.0),
            rng.choice([-1, 1]) * rng.uniform(0.6, 1.4),
        )
        for k in range(9)
    ]

    def act(t: int, picture: np.ndarray, cover: np.ndarray) -> None:
        for k, (cloth, start, speed) in enumerate(people):
            x = (start + speed * t / frames + 0.3) % 1.5 - 0.3
            pasted(picture, cover, cloth, width * x, height * (0.2 + 0.025 * k))

    return _stands(frames), _even(frames), 0.015, act, None, None


def still_light(height: int, width: int, frames: int, seed: int) -> tuple:
    """A tripod in light that does not change, 3 % noise, nobody there."""
    return _stands(frames), _even(frames), 0.03, lambda t, picture, cover: None, None, None


TAKES = {f.__name__: f for f in (dancer, fence, walker, rolling, car, crowd, still_light)}
