"""Unkind clips, drawn so that the truth about them is known: what real footage does to a loop, without the footage.

Each scene gives frames `(T, H, W, 3)` in [0, 1], float32, and a mask `(H, W)` that is 1 on the region an artist would
paint. Sizes are shares of the picture, so that a scene can be drawn small for a test and large for a measurement.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

FPS = 16.0
PERIOD = 18  # frames of what really has a period


def noise_picture(
    height: int, width: int, seed: int, detail: float = 1.0, stretch: float = 1.0
) -> np.ndarray:
    """Detail of all sizes as photos have it, `(H, W)` of mean 0 and spread 1."""
    r = np.random.default_rng(seed)
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None] * stretch
    size = np.maximum(np.hypot(down, across), 1 / max(height, width))
    made = np.fft.irfft2(np.fft.rfft2(r.standard_normal((height, width))) / size**detail, (height, width))
    return ((made - made.mean()) / made.std()).astype(np.float32)


def wall(height: int, width: int, seed: int = 1) -> np.ndarray:
    """A textured wall, `(H, W, 3)`."""
    light, tint = noise_picture(height, width, seed, 1.1), noise_picture(height, width, seed + 1, 1.6)
    colours = (
        np.array([1, 0.9, 0.8]) * light[..., None] * 0.1 + np.array([0.4, 0, -0.4]) * tint[..., None] * 0.08
    )
    return (0.45 + colours).clip(0.1, 0.8).astype(np.float32)


def laid(frame: np.ndarray, colour: tuple[float, float, float] | np.ndarray, cover: np.ndarray) -> np.ndarray:
    """A thing laid over a frame; cover `(H, W)` in [0, 1]."""
    return frame + (np.asarray(colour, np.float32) - frame) * cover[..., None].astype(np.float32)


def soft(distance: np.ndarray, edge: float) -> np.ndarray:
    """1 inside a border (distance below 0, in pixels), 0 outside, with an edge so many pixels wide."""
    return (0.5 - distance / edge).clip(0, 1)


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y in shares of the width, `(H, W)` each; y ends at height / width."""
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return (x / width).astype(np.float32), (y / width).astype(np.float32)


def walker(frame: np.ndarray, x: float, width: int) -> np.ndarray:
    """Somebody dark and tall, standing at x (a share of the width) from a third of the picture down."""
    gx, gy = grid(*frame.shape[:2])
    body = np.maximum(np.abs(gx - x) - 0.035, 0.12 - gy) * width
    head = (np.hypot(gx - x, gy - 0.1) - 0.028) * width
    frame = laid(frame, (0.10, 0.13, 0.22), soft(body, 2))
    return laid(frame, (0.75, 0.55, 0.45), soft(head, 2))


def box_mask(height: int, width: int, top: float, left: float, bottom: float, right: float) -> np.ndarray:
    mask = np.zeros((height, width), np.float32)
    mask[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = 1
    return mask


def ball(height: int, width: int, frames: int, noise: float = 0.0, passer: bool = False) -> tuple:
    """A ball that goes round in PERIOD frames; with a passer-by, somebody crosses once, from frame 20 to 40."""
    still, r = wall(height, width), np.random.default_rng(0)
    gx, gy = grid(height, width)
    clip = []
    for t in range(frames):
        turn = 2 * np.pi * t / PERIOD
        away = np.hypot(gx - 0.5 - 0.09 * np.cos(turn), gy - 0.28 - 0.09 * np.sin(turn)) - 0.05
        frame = laid(still, (0.9, 0.85, 0.6), soft(away * width, 3))
        if passer:
            frame = walker(frame, -0.1 + 1.2 * (t - 20) / 20, width)
        clip.append(frame + noise * r.standard_normal(frame.shape, np.float32))
    return np.stack(clip).clip(0, 1).astype(np.float32), box_mask(height, width, 0.15, 0.3, 0.85, 0.7)


def passer_by(height: int, width: int, frames: int = 72) -> tuple:
    """A true period, and somebody who walks through the region once."""
    return ball(height, width, frames, passer=True)


def noisy(height: int, width: int, frames: int = 72) -> tuple:
    """A true period in 2 % of noise."""
    return ball(height, width, frames, noise=0.02)


def fence(height: int, width: int, frames: int = 72) -> tuple:
    """A street behind a fence and a pole: three cars, at their own speeds, which never come again."""
    still, (gx, gy), r = wall(height, width, 4), grid(height, width), np.random.default_rng(2)
    tall = height / width
    still = laid(still, (0.33, 0.33, 0.35), soft((0.5 * tall - gy) * width, 2) * 0.9)  # the road
    bars = soft((np.abs((gx * 24) % 1 - 0.5) - 0.1) * width / 24, 1.5) * (gy > 0.3 * tall)
    pole = soft((np.abs(gx - 0.55) - 0.012) * width, 1.5)
    cars = [
        (-0.2, 0.02, (0.7, 0.15, 0.12)),
        (-0.75, 0.021, (0.85, 0.85, 0.8)),
        (1.9, -0.017, (0.1, 0.2, 0.5)),
    ]
    clip = []
    for t in range(frames):
        frame = still
        for k, (start, speed, colour) in enumerate(cars):
            x, y = start + speed * t, (0.62 + 0.08 * k) * tall
            body = np.maximum(np.abs(gx - x) - 0.11, np.abs(gy - y) - 0.04) * width
            roof = np.maximum(np.abs(gx - x) - 0.06, np.abs(gy - y + 0.06) - 0.03) * width
            frame = laid(frame, colour, soft(np.minimum(body, roof), 2))
            for wheel in (-0.07, 0.07):
                frame = laid(
                    frame, (0.05,) * 3, soft((np.hypot(gx - x - wheel, gy - y - 0.04) - 0.02) * width, 2)
                )
        frame = laid(laid(frame, (0.2, 0.22, 0.2), bars), (0.75, 0.75, 0.78), pole)
        clip.append(frame + 0.008 * r.standard_normal(frame.shape, np.float32))
    return np.stack(clip).clip(0, 1).astype(np.float32), box_mask(height, width, 0.3, 0.15, 0.95, 0.85)


def water(height: int, width: int, frames: int = 72) -> tuple:
    """A lake: forty waves of their own lengths and speeds, which never come together again."""
    still, (gx, gy), r = wall(height, width, 7), grid(height, width), np.random.default_rng(3)
    mask = box_mask(height, width, 0.45, 0, 1, 1)
    near = (gy / gy.max() - 0.4).clip(0.05)
    waves = [
        (r.uniform(-6, 6), r.uniform(8, 60), r.uniform(0.3, 1.6), r.uniform(0, 6.3), r.uniform(0.4, 1))
        for _ in range(40)
    ]
    clip = []
    for t in range(frames):
        high = sum(
            a * np.sin(2 * np.pi * (kx * gx + ky * np.log(near + 0.05) * 0.25 + f * t / FPS) + p)
            for kx, ky, f, p, a in waves
        )
        light = 0.42 + 0.05 * high
        lake = np.stack([0.75 * light, 0.9 * light, 1.05 * light], -1)
        frame = np.where(mask[..., None] > 0, lake, still)
        clip.append(frame + 0.006 * r.standard_normal(frame.shape, np.float32))
    return np.stack(clip).clip(0, 1).astype(np.float32), mask


def smoke(height: int, width: int, frames: int = 72) -> tuple:
    """Smoke (or coffee's steam) that rises before a dark wall, sheared as it goes."""
    still, (gx, gy), r = wall(height, width, 9) * 0.4, grid(height, width), np.random.default_rng(4)
    tall = height / width
    puffs = [noise_picture(2 * height, 2 * width, 30 + k, 1.7) for k in range(2)]
    rows, columns = np.meshgrid(
        np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij"
    )
    up = (1 - gy / tall).clip(0, 1)
    clip = []
    for t in range(frames):
        both = [
            cv2.remap(
                puff,
                columns + (0.06 * np.sin(7 * gy + 0.11 * t + k) * up * width).astype(np.float32),
                rows + np.float32((0.012 + 0.006 * k) * width * t),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_WRAP,
            )
            for k, puff in enumerate(puffs)
        ]
        thick = (0.5 + 0.25 * both[0] + 0.25 * both[1]).clip(0, 1)
        cone = np.exp(-(((gx - 0.5) / (0.08 + 0.2 * up)) ** 2)) * (1 - up**3)
        frame = laid(still, (0.82, 0.82, 0.86), thick * cone)
        clip.append(frame + 0.008 * r.standard_normal(frame.shape, np.float32))
    return np.stack(clip).clip(0, 1).astype(np.float32), box_mask(height, width, 0, 0.2, 0.97, 0.8)


def grass(height: int, width: int, frames: int = 72) -> tuple:
    """Blades that sway, each in its own time, and a gust in the middle of the clip."""
    still, (gx, gy), r = wall(height, width, 12), grid(height, width), np.random.default_rng(5)
    tall = height / width
    blades = [
        (
            r.uniform(0, 1),
            r.uniform(0.25, 0.5) * tall,
            r.uniform(10, 34),
            r.uniform(0, 6.3),
            r.uniform(0.5, 1),
        )
        for _ in range(90)
    ]
    clip = []
    for t in range(frames):
        frame = still.copy()
        gust = np.exp(-(((t - frames / 2) / 8) ** 2))
        for x, long, period, phase, shade in blades:
            up = ((tall - gy) / long).clip(0, 1)
            lean = (0.02 * np.sin(2 * np.pi * t / period + phase) + 0.05 * gust) * up**2
            wide = 0.006 * (1 - up)
            cover = soft((np.abs(gx - x - lean) - wide) * width, 1.5) * (up < 1)
            frame = laid(frame, (0.25 * shade, 0.5 * shade, 0.15 * shade), cover)
        clip.append(frame + 0.006 * r.standard_normal(frame.shape, np.float32))
    return np.stack(clip).clip(0, 1).astype(np.float32), box_mask(height, width, 0.4, 0, 1, 1)


def stars(height: int, width: int, frames: int = 72) -> tuple:
    """Stars that twinkle over a ridge, and an aeroplane."""
    r, (gx, gy) = np.random.default_rng(6), grid(height, width)
    ridge = 0.8 * height / width + 0.02 * noise_picture(8, width, 3, 1.4)[0][None]
    still = np.stack([0.03 + 0 * gx, 0.04 + 0.05 * gy, 0.10 + 0.15 * gy], -1).astype(np.float32)
    places = [
        (
            int(r.uniform(2, height * 0.75)),
            int(r.uniform(2, width - 2)),
            r.uniform(0.4, 1),
            r.uniform(3, 15),
            r.uniform(0, 6.3),
        )
        for _ in range(120)
    ]
    clip = []
    for t in range(frames):
        frame = still.copy()
        for y, x, bright, period, phase in places:
            frame[y, x] += bright * (0.65 + 0.35 * np.sin(2 * np.pi * t / period + phase))
        frame = cv2.GaussianBlur(frame, (0, 0), 0.7)
        frame = laid(
            frame, (1, 0.9, 0.8), soft((np.hypot(gx - 0.1 - 0.011 * t, gy - 0.2) - 0.004) * width, 1.5)
        )
        frame = np.where((gy > ridge)[..., None], 0.02, frame)
        clip.append(frame + 0.004 * r.standard_normal(frame.shape, np.float32))
    return np.stack(clip).clip(0, 1).astype(np.float32), box_mask(height, width, 0, 0, 0.85, 1)


def passenger(height: int, width: int, frames: int = 72) -> tuple:
    """A head that nods in a car's window, and the country that goes by behind it."""
    country = wall(height, 3 * width, 20)
    country = laid(
        country, (0.3, 0.5, 0.3), 0.5 * (noise_picture(height, 3 * width, 22, 1.3) > 0.3).astype(np.float32)
    )
    (gx, gy), r = grid(height, width), np.random.default_rng(7)
    tall = height / width
    inside = np.maximum(np.abs(gx - 0.5) - 0.38, np.abs(gy - 0.45 * tall) - 0.33 * tall) * width
    clip = []
    for t in range(frames):
        left = round(0.022 * width * t)
        frame = country[:, left : left + width]
        nod = 0.015 * np.sin(2 * np.pi * t / 23) + 0.008 * np.sin(2 * np.pi * t / 9.7)
        frame = laid(
            frame,
            (0.7, 0.52, 0.42),
            soft((np.hypot((gx - 0.45 - nod) * 1.2, gy - 0.5 * tall - nod) - 0.10) * width, 2),
        )
        frame = laid(frame, (0.12, 0.12, 0.13), soft(-inside, 3))
        clip.append(frame + 0.008 * r.standard_normal(frame.shape, np.float32))
    return np.stack(clip).clip(0, 1).astype(np.float32), box_mask(height, width, 0.1, 0.1, 0.8, 0.9)


def wander(height: int, width: int, frames: int = 72) -> tuple:
    """Somebody walks up and down before a wall, and a flag waves in its own time."""
    still, (gx, gy), r = wall(height, width, 25), grid(height, width), np.random.default_rng(8)
    clip = []
    for t in range(frames):
        frame = walker(still, 0.35 + 0.25 * np.sin(2 * np.pi * t / 61), width)
        wave = 0.01 * np.sin(2 * np.pi * (t / PERIOD - 4 * gx))
        flag = np.maximum(np.abs(gx - 0.82) - 0.1, np.abs(gy - 0.12 - wave) - 0.05) * width
        stripes = 0.5 + 0.5 * np.sign(np.sin(60 * np.pi * (gy - wave)))
        frame = laid(frame, np.array([0.8, 0.2, 0.2]) * (0.6 + 0.4 * stripes[..., None]), soft(flag, 2))
        clip.append(frame + 0.008 * r.standard_normal(frame.shape, np.float32))
    return np.stack(clip).clip(0, 1).astype(np.float32), box_mask(height, width, 0.02, 0.02, 0.98, 0.98)


def bricks(height: int, width: int, frames: int = 72) -> tuple:
    """Somebody walks along a wall of bricks and does not come back: in from the left third, out in the right one."""
    (gx, gy), r = grid(height, width), np.random.default_rng(10)
    row = np.floor(gy * 18)
    across, down = (gx * 12 + 0.5 * (row % 2)) % 1, (gy * 18) % 1
    tone = 0.04 * np.sin(12.9 * (7.3 * np.floor(gx * 12 + 0.5 * (row % 2)) + 3.1 * row))
    still = np.stack([0.55 + tone, 0.28 + tone, 0.2 + tone], -1).astype(np.float32)
    still = laid(still, (0.7, 0.68, 0.65), ((across < 0.06) | (down < 0.12)).astype(np.float32))
    clip = []
    for t in range(frames):
        frame = walker(still, 0.2 + 0.6 * t / frames, width)
        clip.append(frame + 0.008 * r.standard_normal(frame.shape, np.float32))
    return np.stack(clip).clip(0, 1).astype(np.float32), box_mask(height, width, 0.02, 0.1, 1, 0.9)


def gusts(height: int, width: int, frames: int = 72) -> tuple:
    """A striped flag in gusts, which hangs and flies and never comes again the same; clouds drift behind it."""
    (gx, gy), r = grid(height, width), np.random.default_rng(11)
    sky = noise_picture(height, 2 * width, 8, 1.7)
    cloth = 1 + 0.1 * noise_picture(height, width, 4, 1.0)
    clip = []
    for t in range(frames):
        left = round(0.002 * width * t)
        cover = (0.5 * sky[:, left : left + width]).clip(0, 1)
        frame = laid(np.stack([0.45 + 0 * gx, 0.6 + 0 * gx, 0.85 - 0.1 * gy], -1), (0.95,) * 3, cover)
        u, v = gx - 0.3, gy - 0.12
        out = (u / 0.38).clip(0, 1)
        gust = 0.6 + 0.4 * np.sin(0.13 * t + 0.8) * np.sin(0.047 * t)
        turn = 2 * np.pi * (u / 0.17 - t / 15.3)
        v = v + out * (0.022 * gust * np.sin(turn) + 0.01 * np.sin(0.031 * t)) - 0.9 * u**2 * (1 - gust)
        inside = np.maximum(np.abs(u - 0.19) - 0.19 + 0.01 * gust * out, np.abs(v - 0.12) - 0.12) * width
        stripes = np.where(((v / 0.08).astype(int) % 2)[..., None] > 0, (0.92, 0.9, 0.86), (0.75, 0.1, 0.12))
        emblem = soft((np.hypot(u - 0.14, v - 0.12) - 0.05) * width, 2)
        flag = (
            laid(stripes, (0.1, 0.2, 0.55), emblem)
            * (cloth * (1 + 0.25 * gust * out * np.cos(turn)))[..., None]
        )
        frame = laid(frame, flag, soft(inside, 2))
        clip.append(frame + 0.008 * r.standard_normal(frame.shape, np.float32))
    return np.stack(clip).clip(0, 1).astype(np.float32), box_mask(height, width, 0.05, 0.28, 0.8, 0.75)


SCENES: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "passer-by": passer_by,
    "noise": noisy,
    "fence and cars": fence,
    "water": water,
    "smoke": smoke,
    "grass": grass,
    "stars": stars,
    "head in a car": passenger,
    "walker and flag": wander,
    "walker and bricks": bricks,
    "flag in gusts": gusts,
}
