"""Whether a picture could be one of the drawn world: a cheap test, so that nobody expects too much of its models."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .scenes import WORLDS, Scene, render

SIDE_SEEN = 16  # pixels of a side at which it is looked at
SOMEONE = {"underwater": "fish", "sea": "boat"}  # who stands in a place; a windmill elsewhere

# The median over all pixels leaves open the subject, its colour and the height of the horizon; compared are the place,
# the time of day and the weather. Further than this from the nearest place were 2 of 400 other scenes, as many after
# JPEG at 64x64 pixels, all of 711 pictures of other kinds (photos, paintings, screens), and 96 % of crops of the
# painted photos of `photo/examples.py`.
NEAR_DRAWN = 0.065

FAR = (
    "This does not look like the drawn world, which is all that this model knows: expect a drawing, or a blur. For "
    "photos take the templates 1_start_photo_motion_brush, 4_photo_image_to_video_wan or 4_photo_cinemagraph_wan_vace."
)


@cache
def known_places() -> Tensor:
    """Each place at each time and in each weather, twice: `(N, 3, 16, 16)` in [0, 1]."""
    world, drawn = WORLDS["full"], []
    for place in world.places:
        subject = SOMEONE.get(place, "windmill")
        contexts = [context for context in world.contexts(subject) if context[0] == place]
        scenes = [Scene(subject, "red", "standing still", *c, seed=seed) for c in contexts for seed in (1, 2)]
        drawn.append(render(scenes, 1, SIDE_SEEN, SIDE_SEEN)[:, :, 0])
    return torch.cat(drawn)


def far_from_drawn(picture: Tensor) -> bool:
    """Whether a picture `(3, H, W)` in [0, 1] is unlike all places of the drawn world: a photo, noise, a tight crop."""
    small = F.interpolate(
        picture[None].float().cpu(), (SIDE_SEEN, SIDE_SEEN), mode="bilinear", antialias=True
    )
    apart = (known_places() - small).abs().mean(1).flatten(1)  # (N, 256)
    return float(apart.median(dim=1).values.min()) > NEAR_DRAWN
