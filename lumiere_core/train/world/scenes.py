"""The drawn world: clips with captions and known truth, drawn by code at any size and in any number.

A `Scene` is what a caption says, plus a seed for everything it leaves open. A `World` says which words exist. `render`
draws scenes in batches on any device. `drawing.py` has the shapes, `places.py` and `subjects.py` what they make.
"""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .drawing import Canvas, SceneBatch
from .places import paint_moving, paint_still
from .subjects import paint_subject, subject_centre

Combination = tuple[str, str, str]  # subject, colour, motion
Context = tuple[str, str, str]  # place, time, weather

# What every picture of this world is. Weights that learnt from it say so in their file.
LICENSE, TRAINED_ON = "Apache-2.0", "pictures drawn by the code of this project, nothing else"

WAYS = {"left": (-1, 0), "right": (1, 0), "rising": (0, -1), "sinking": (0, 1), "falling": (0, 1)}
MIRROR = {"left": "right", "right": "left"}
PREPOSITIONS = {
    "balloon": "over",
    "bird": "over",
    "star": "over",
    "boat": "on",
}  # the others stand in a place


@dataclass(frozen=True)
class Scene:
    """The truth about one clip: the words of its caption, and the seed of what the caption leaves open."""

    subject: str
    colour: str
    motion: str
    place: str
    time: str
    weather: str = ""
    seed: int = 0

    @property
    def caption(self) -> str:
        """For example "an orange balloon rising over the sea at sunset"."""
        article = "an" if self.colour[0] in "aeiou" else "a"
        where = self.place
        if self.place != "underwater":
            the = "" if self.place.endswith("hills") else "the "
            where = f"{PREPOSITIONS.get(self.subject, 'in')} {the}{self.place}"
        words = f"{article} {self.colour} {self.subject} {self.motion} {where} {self.time} {self.weather}"
        return words.strip()

    @property
    def combination(self) -> Combination:
        return self.subject, self.colour, self.motion

    @property
    def direction(self) -> tuple[int, int]:
        """Sign of the subject's travel in image axes: (-1, 0) is left, (0, -1) is up, (0, 0) nowhere."""
        return WAYS.get(self.motion.split()[-1], (0, 0))

    def flipped(self) -> "Scene":
        """Left and right swapped in the motion: the words for a mirrored picture of this scene.

        Only the words: rendering the result draws another picture, not the mirrored one.
        """
        return replace(self, motion=" ".join(MIRROR.get(word, word) for word in self.motion.split()))


@dataclass(frozen=True)
class Habits:
    """What a subject can do, and where."""

    motions: tuple[str, ...]
    places: tuple[str, ...]


def clash(colour: str, place: str) -> bool:
    """Whether a subject of that colour could not be seen there."""
    return colour == "white" and place == "snowy hills"


@dataclass(frozen=True, eq=False)
class World:
    """Which words exist. A row of `WORLDS` each."""

    subjects: Mapping[str, Habits]
    colours: tuple[str, ...]
    times: tuple[str, ...]
    weathers: tuple[str, ...] = ("",)

    @property
    def places(self) -> tuple[str, ...]:
        """All places, in the order the subjects name them."""
        return tuple(dict.fromkeys(place for habits in self.subjects.values() for place in habits.places))

    def combinations(self) -> list[Combination]:
        """All (subject, colour, motion), in a fixed order."""
        return [
            (subject, colour, motion)
            for subject, habits in self.subjects.items()
            for colour in self.colours
            for motion in habits.motions
        ]

    def contexts(self, subject: str) -> list[Context]:
        """All (place, time, weather) the subject can stand in; there is no weather underwater."""
        return [
            (place, time, weather)
            for place in self.subjects[subject].places
            for time in self.times
            for weather in (self.weathers if place != "underwater" else ("",))
        ]

    def scene(
        self,
        generator: random.Random,
        exclude: frozenset[Combination] = frozenset(),
        subject: str | None = None,
        place: str | None = None,
    ) -> Scene:
        """Draw a scene: the subject uniformly, then colour and motion, then the context.

        Never an excluded combination. `subject` and `place` fix those; ValueError if nothing is left to draw.
        """
        if subject is None:
            homes = [
                name for name, habits in self.subjects.items() if place is None or place in habits.places
            ]
            subject = generator.choice(homes) if homes else ""
        if subject not in self.subjects or place not in (None, *self.subjects[subject].places):
            raise ValueError(
                f"no {subject or 'subject'} lives in {place or 'this world'}; the subjects are"
                f" {', '.join(self.subjects)}, the places {', '.join(self.places)}."
            )
        pairs = [
            (colour, motion)
            for colour in self.colours
            for motion in self.subjects[subject].motions
            if (subject, colour, motion) not in exclude and not clash(colour, place or "")
        ]
        if not pairs:
            raise ValueError(f"every colour and motion of {subject} is excluded; exclude fewer combinations.")
        colour, motion = generator.choice(pairs)
        contexts = [
            context
            for context in self.contexts(subject)
            if place in (None, context[0]) and not clash(colour, context[0])
        ]
        return Scene(subject, colour, motion, *generator.choice(contexts), seed=generator.getrandbits(31))


DRIFTING = ("rising", "sinking", "drifting left", "drifting right", "standing still")
SAILING = ("sailing left", "sailing right", "rocking", "standing still")
SWIMMING = ("swimming left", "swimming right", "rising", "sinking", "standing still")
TURNING = ("turning slowly", "turning fast", "standing still")
BURNING = ("burning slowly", "burning fast")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
TIMES = ("by day", "at sunset", "at night")
LAND = ("meadow", "desert")
HILLY = (*LAND, "snowy hills")

WORLDS = {
    "small": World(
        subjects={
            "balloon": Habits(DRIFTING, ("sea", *LAND)),
            "boat": Habits(SAILING, ("sea",)),
            "fish": Habits(SWIMMING, ("underwater",)),
            "windmill": Habits(TURNING, LAND),
            "campfire": Habits(BURNING, LAND),
        },
        colours=COLOURS,
        times=TIMES,
    ),
    "full": World(
        subjects={
            "balloon": Habits((*DRIFTING, "swinging"), ("sea", *HILLY)),
            "boat": Habits(SAILING, ("sea",)),
            "fish": Habits(SWIMMING, ("underwater",)),
            "windmill": Habits(TURNING, HILLY),
            "campfire": Habits(BURNING, HILLY),
            "bird": Habits(("flying left", "flying right", "rising", "sinking"), ("sea", *HILLY)),
            "ball": Habits(("bouncing", "rolling left", "rolling right", "standing still"), HILLY),
            "star": Habits(
                ("spinning", "rising", "falling", "drifting left", "drifting right", "standing still"),
                ("sea", *HILLY),
            ),
            "flag": Habits(("waving slowly", "waving fast", "standing still"), HILLY),
            "fountain": Habits(("flowing slowly", "flowing fast"), HILLY),
        },
        colours=(*COLOURS, "pink", "white"),
        times=TIMES,
        weathers=("", "with clouds", "in the snow", "in the rain"),
    ),
}


def vocabulary(world: World) -> list[str]:
    """Every word that a caption of this world can hold, sorted: what a model trained on it can read."""
    captions = (
        Scene(*combination, *context).caption
        for combination in world.combinations()
        for context in world.contexts(combination[0])
    )
    return sorted({word for caption in captions for word in caption.split()})


def held_out(world: World, fraction: float = 0.35, seed: int = 0) -> list[Combination]:
    """Combinations to keep out of training: about `fraction` of each subject's.

    Every (subject, colour) and every (subject, motion) still occurs in what remains. Drawn greedily from
    where most remain, so no colour and no motion loses much more than the others.
    """
    chosen = []
    for subject in world.subjects:
        remaining = [combination for combination in world.combinations() if combination[0] == subject]
        random.Random(f"{seed} {subject}").shuffle(remaining)
        for _ in range(round(fraction * len(remaining))):
            colours = Counter(colour for _, colour, _ in remaining)
            motions = Counter(motion for _, _, motion in remaining)
            spare = [c for c in remaining if min(colours[c[1]], motions[c[2]]) > 1]
            if not spare:
                break
            best = max(spare, key=lambda c: colours[c[1]] / len(motions) + motions[c[2]] / len(colours))
            remaining.remove(best)
            chosen.append(best)
    return chosen


def held_out_list(world: str) -> list[Combination]:
    """The committed combinations that training never renders and `evaluate` asks for.

    Raises ValueError where the file is damaged: training would draw what a lost entry keeps out.
    """
    path = Path(__file__).parent / f"held_out_{world}.json"
    known = {combination: combination for combination in WORLDS[world].combinations()}
    try:
        return [known[tuple(entry)] for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path.name} does not list combinations of the {world} world. It comes with the pack: install it again."
        ) from error


def _seconds(
    start: Tensor | float, count: int, num_frames: int, fps: float, device: torch.device | str
) -> Tensor:
    """Absolute time of each frame: (B, 1, T, 1, 1)."""
    start = torch.as_tensor(start, dtype=torch.float32, device=device).expand(count).view(-1, 1, 1, 1, 1)
    return start + (torch.arange(num_frames, device=device) / fps).view(1, 1, -1, 1, 1)


def _scene_batch(
    scenes: Sequence[Scene], num_frames: int, fps: float, start: Tensor | float, device: torch.device | str
) -> SceneBatch:
    kinds = {(scene.subject, scene.place) for scene in scenes}
    assert len(kinds) == 1, f"a batch shares one subject and one place, but this one has {sorted(kinds)}."
    return SceneBatch(scenes, _seconds(start, len(scenes), num_frames, fps, device), device)


def _grid(size: int, low: Tensor, high: Tensor) -> Tensor:
    """Centres of `size` pixels between low and high (B,): (B, size)."""
    steps = (torch.arange(size, dtype=torch.float32) + 0.5) / size
    return torch.lerp(low[:, None], high[:, None], steps)


def render(
    scenes: Sequence[Scene],
    num_frames: int = 80,
    height: int = 64,
    width: int = 64,
    fps: float = 16.0,
    start: Tensor | float = 0.0,
    crop: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw a batch of scenes that share their subject and place: float32 (B, 3, T, height, width) in [0, 1].

    start: seconds into the 5 s clip of the first frame, one or (B,). crop: boxes (x0, y0, x1, y1) of the unit
    square that the pixels cover, (B, 4), by default all of it. The same scene shows the same picture at every
    size, through every crop, in every window of time and beside any other scenes.
    """
    batch = _scene_batch(scenes, num_frames, fps, start, device)
    canvas = _canvas(batch, height, width, crop, device)
    paint_still(batch, canvas)
    canvas = canvas.moving(num_frames)
    paint_moving(batch, canvas)
    paint_subject(batch, canvas)
    return canvas.image.clamp_(0, 1)


def _canvas(
    batch: SceneBatch, height: int, width: int, crop: Tensor | None, device: torch.device | str
) -> Canvas:
    """A black canvas of one frame for a batch of scenes."""
    count = len(batch.scenes)
    box = torch.tensor((0.0, 0.0, 1.0, 1.0)) if crop is None else crop.to("cpu", torch.float32)
    x0, y0, x1, y1 = box.expand(count, 4).unbind(1)
    x, y = _grid(width, x0, x1), _grid(height, y0, y1)  # (B, W), (B, H)
    pixel = torch.maximum((x1 - x0) / width, (y1 - y0) / height)
    return Canvas(
        x.to(device).view(-1, 1, 1, 1, width),
        y.to(device).view(-1, 1, 1, height, 1),
        (1 / pixel).to(device).view(-1, 1, 1, 1, 1),
        torch.zeros(count, 3, 1, height, width, device=device),
        rows=(y.amin(0), y.amax(0)),
    )


def subject_cover(
    scenes: Sequence[Scene],
    num_frames: int = 80,
    height: int = 64,
    width: int = 64,
    fps: float = 16.0,
    start: Tensor | float = 0.0,
) -> Tensor:
    """Share of each pixel that the subject covers, light around it counted too: (B, 1, T, height, width) in [0, 1].

    What is painted over black and over white differs by what shows through.
    """
    batch = _scene_batch(scenes, num_frames, fps, start, "cpu")
    painted = []
    for ground in (0.0, 1.0):
        canvas = _canvas(batch, height, width, None, "cpu").moving(num_frames)
        canvas.image.fill_(ground)
        paint_subject(batch, canvas)
        painted.append(canvas.image)
    return (1 - (painted[1] - painted[0]).mean(dim=1, keepdim=True)).clamp_(0, 1)


def subject_path(
    scenes: Sequence[Scene],
    num_frames: int = 80,
    fps: float = 16.0,
    start: Tensor | float = 0.0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """True centre (x, y) of the subject in the unit square, frame by frame: (B, T, 2)."""
    batch = _scene_batch(scenes, num_frames, fps, start, device)
    x, y = subject_centre(batch)
    return torch.stack([axis.expand(-1, -1, num_frames, -1, -1).flatten(1) for axis in (x, y)], dim=-1)
