"""A drawn picture is told from all others before a model of the drawn world is given it."""

from __future__ import annotations

import random

import cv2
import pytest
import torch

from lumiere_core.photo.examples import candle, lake, texture
from lumiere_core.train.world.examples import DRAWN_EXAMPLES, drawn_example
from lumiere_core.train.world.likeness import far_from_drawn
from lumiere_core.train.world.scenes import WORLDS, render

COUNT = 60


def scenes() -> list[torch.Tensor]:
    """Pictures `(3, H, W)` of both worlds, at sizes and times of their own."""
    rng, found = random.Random(5), []
    for i in range(COUNT):
        size = rng.choice([64, 128, 256])
        scene = WORLDS["small" if i % 2 else "full"].scene(rng)
        found.append(render([scene], 1, size, size, start=rng.uniform(0, 4.9))[0, :, 0])
    return found


def compressed(picture: torch.Tensor) -> torch.Tensor:
    """As a JPEG of quality 70."""
    pixels = (picture.movedim(0, -1).numpy() * 255).round().astype("uint8")
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 70])
    return torch.from_numpy(cv2.imdecode(data, cv2.IMREAD_COLOR)).movedim(-1, 0).float() / 255


def photo_like() -> list[torch.Tensor]:
    """The painted photos, crops of them, and fields with the spectrum of photos."""
    whole = [lake(480, 320, seed)[0].movedim(-1, 0) for seed in range(10)]
    whole.append(candle(320, 320)[0].movedim(-1, 0))
    crops = [picture[:, top : top + 160, top : top + 160] for picture in whole for top in (0, 150)]
    fields = []
    for seed in range(20):
        waves = torch.stack([texture(128, 128, 3 * seed + channel, 1.0 + seed / 20) for channel in range(3)])
        fields.append((0.2 + seed / 33 + 0.2 * waves.mean(0) + 0.06 * waves).clamp(0, 1))
    return [*whole, *crops, *fields]


def share(pictures: list[torch.Tensor]) -> float:
    return sum(map(far_from_drawn, pictures)) / len(pictures)


def test_drawn_pictures_are_near_also_after_jpeg() -> None:
    drawn = scenes()
    assert share(drawn) <= 0.03 and share([compressed(picture) for picture in drawn]) <= 0.03


def test_photos_noise_gradients_and_flat_pictures_are_far() -> None:
    assert share(photo_like()) >= 0.95
    noise = [torch.rand(3, 90, 120, generator=torch.Generator().manual_seed(seed)) for seed in range(10)]
    along = torch.linspace(0, 1, 64).expand(3, 64, 64)
    flat = [torch.full((3, 50, 70), shade) for shade in (0.0, 0.5, 1.0)]
    assert share([*noise, along, along.mT, *flat]) == 1


@pytest.mark.parametrize("name", DRAWN_EXAMPLES)
def test_an_example_of_the_drawn_world_is_near_and_its_mask_lies_on_its_subject(name: str) -> None:
    frames, mask, fps = drawn_example(name)
    assert not far_from_drawn(frames[0].movedim(-1, 0))
    assert frames.shape[1:] == (256, 256, 3) and len(mask) in (1, len(frames)) and fps == 16
    assert 0.05 < float(mask[0].mean()) < 0.5
    if len(frames) > 1:  # what moves most lies in the mask
        moved = frames.diff(dim=0).abs().amax(-1)  # (T - 1, H, W)
        inside = torch.maximum(mask[:-1], mask[1:]) if len(mask) > 1 else mask
        assert float(moved[(inside == 1).expand_as(moved)].mean()) > 2 * float(
            moved[(inside == 0).expand_as(moved)].mean()
        )
