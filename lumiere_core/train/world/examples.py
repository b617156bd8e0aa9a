"""Pictures and clips of the drawn world to try the bundled models on, each with a mask of what is to be made."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .scenes import Scene, render, subject_path

DRAWN_SIDE, DRAWN_FPS = (
    256,
    16.0,
)  # four times what the bundled base model was trained at, which is what super-resolution makes


@dataclass(frozen=True)
class DrawnExample:
    """A scene, how many frames of it, and the ellipse around its subject that is masked, in shares of the side.

    around: half its width and height, and how far its middle lies below the subject's own.
    """

    what: str
    scene: Scene
    frames: int
    around: tuple[float, float, float]


DRAWN_EXAMPLES = {
    "balloon (drawn picture)": DrawnExample(
        "a balloon over the sea, in the bundled models' drawn world",
        Scene("balloon", "red", "rising", "sea", "by day", seed=3),
        1,
        (0.18, 0.24, 0.0),
    ),
    "campfire (drawn picture)": DrawnExample(
        "a campfire at night, of the same world; the fire is masked",
        Scene("campfire", "orange", "burning fast", "desert", "at night", seed=2),
        1,
        (0.22, 0.34, -0.08),
    ),
    "windmill (drawn clip)": DrawnExample(
        "a windmill that turns, of the same world, 5 seconds; it is masked",
        Scene("windmill", "red", "turning slowly", "meadow", "by day", seed=6),
        80,
        (0.3, 0.4, 0.06),
    ),
    "boat (drawn clip)": DrawnExample(
        "a boat that sails to the right, of the same world, 2.5 seconds; it is masked",
        Scene("boat", "blue", "sailing right", "sea", "at sunset", seed=1),
        40,
        (0.2, 0.24, -0.04),
    ),
}


def drawn_example(name: str) -> tuple[Tensor, Tensor, float]:
    """Frames `(T, H, W, 3)` in [0, 1], a mask `(T, H, W)` or, where nothing goes away, `(1, H, W)`, and the rate."""
    drawn = DRAWN_EXAMPLES[name]
    clip = render([drawn.scene], drawn.frames, DRAWN_SIDE, DRAWN_SIDE, DRAWN_FPS)[0]  # (3, T, H, W)
    path = subject_path([drawn.scene], drawn.frames, DRAWN_FPS)[0]  # (T, 2)
    path = path if drawn.scene.direction != (0, 0) else path[:1]
    wide, tall, below = drawn.around
    at = (torch.arange(DRAWN_SIDE) + 0.5) / DRAWN_SIDE
    x, y = at[None, None, :] - path[:, 0, None, None], at[None, :, None] - path[:, 1, None, None] - below
    mask = ((x / wide).square() + (y / tall).square() < 1).float()  # (T or 1, H, W)
    return clip.permute(1, 2, 3, 0).contiguous(), mask, DRAWN_FPS
