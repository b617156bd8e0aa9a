"""Free wording beside the plain grammar: the same scenes from the same seeds, asked for in two ways."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..outputs import write_whole
from ..progress import Progress
from .evaluate import MakeClips, check_probe, read_made, read_renders
from .probe import ATTRIBUTES, Probe, load_probe
from .report import Record, mean, ratio, verdict_on
from .world.scenes import WORLDS, Scene

CLOSE = 0.05  # free wording may be obeyed by so much less than the plain captions
OBEYED = 0.5  # share of plain captions below which a small difference says nothing
FORM = 'It holds a list of {"says": "a crimson dinghy ...", "stands_for": "a red boat ..."}.'


@dataclass(frozen=True)
class Share:
    """One attribute: shares of clips that show it."""

    name: str
    plain: float
    free: float
    count: int


@dataclass(frozen=True)
class Comparison:
    """What free wording loses."""

    rows: tuple[Share, ...]  # the last one is "obeyed": all of a caption at once
    verdict: str  # what is wrong with the motion of the plain or the free clips; empty where nothing is
    said: tuple[str, ...]
    plain: tuple[Record, ...]
    free: tuple[Record, ...]

    @property
    def conclusion(self) -> str:
        """The one sentence that may be quoted."""
        whole = self.rows[-1]
        if self.verdict:
            return f"The comparison does not count: {self.verdict}."
        if whole.plain < OBEYED:
            return (
                f"The comparison does not count: only {whole.plain:.0%} of the plain captions are obeyed, so a small "
                "difference says nothing."
            )
        lost = 100 * (whole.plain - whole.free)
        within = "within" if lost <= 100 * CLOSE + 1e-9 else "not within"
        return f"Free wording loses {lost:.1f} points of {100 * whole.plain:.1f}, {within} {100 * CLOSE:g}."

    def table(self) -> str:
        """Aligned lines for a terminal, and the captions that free wording lost."""
        rows = [
            f"{row.name:<10} {row.plain:6.3f} {row.free:6.3f} {100 * (row.free - row.plain):+7.1f} {row.count:4}"
            for row in self.rows
        ]
        lost = [
            f"lost: {said} (for: {free.scene.caption})"
            for said, plain, free in zip(self.said, self.plain, self.free, strict=True)
            if obeyed(plain) and not obeyed(free)
        ]
        head = f"{'':<10} {'plain':>6} {'free':>6} {'points':>7} {'n':>4}"
        return "\n".join([head, *rows, *lost, self.conclusion])

    def write(self, path: Path) -> None:
        """Write the comparison as JSON, with a row for each caption."""
        clips = zip(self.said, self.plain, self.free, strict=True)
        facts = {
            "conclusion": self.conclusion,
            "rows": [asdict(row) for row in self.rows],
            "clips": [
                {
                    "says": said,
                    "stands_for": plain.scene.caption,
                    "plain": asdict(plain),
                    "free": asdict(free),
                }
                for said, plain, free in clips
            ],
        }
        write_whole(path, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())


def load_paraphrases(path: Path, world: str) -> list[tuple[str, Scene]]:
    """(what is said, the scene meant), sorted by subject and place.

    Raises ValueError for a file of another kind, and for a caption that the world does not have.
    """
    captions = {
        scene.caption: scene
        for combination in WORLDS[world].combinations()
        for context in WORLDS[world].contexts(combination[0])
        for scene in [Scene(*combination, *context)]
    }
    try:
        pairs = [
            (str(row["says"]), str(row["stands_for"])) for row in json.loads(path.read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no list of paraphrases ({error}). {FORM}") from error
    if not pairs:
        raise ValueError(f"{path} is empty. {FORM}")
    for _, caption in pairs:
        if caption not in captions:
            raise ValueError(
                f"the {world} world has no caption {caption!r}. Name one such as {next(iter(captions))!r}."
            )
    found = [(said, captions[caption]) for said, caption in pairs]
    return sorted(found, key=lambda pair: (pair[1].subject, pair[1].place))


def obeyed(record: Record) -> bool:
    """Whether a clip shows all that its caption says."""
    right = all(record.words[name] == getattr(record.scene, name) for name in ATTRIBUTES)
    return right and record.direction == record.scene.direction


def rows_of(plain: Sequence[Record], free: Sequence[Record]) -> tuple[Share, ...]:
    """Each attribute, the direction of what travels, and all at once."""

    def shows(name: str) -> Callable[[Record], bool]:
        return lambda record: record.words[name] == getattr(record.scene, name)

    going = [i for i, record in enumerate(plain) if record.scene.direction != (0, 0)]
    everything = list(range(len(plain)))
    asked = [(name, shows(name), everything) for name in ATTRIBUTES]
    asked.append(("direction", lambda record: record.direction == record.scene.direction, going))
    asked.append(("obeyed", obeyed, everything))
    return tuple(
        Share(name, *(mean([right(group[i]) for i in which]) for group in (plain, free)), len(which))
        for name, right, which in asked
    )


def compare_wording(
    make_clips: MakeClips,
    pairs: Sequence[tuple[str, Scene]],
    world: str = "small",
    probe: Probe | None = None,
    num_frames: int = 80,
    seed: int = 0,
    progress: Progress | None = None,
    show: Callable[[str], None] = print,
) -> Comparison:
    """Make each scene by its plain caption and by free wording, from one seed, and show what is lost.

    make_clips, world, probe, num_frames, progress  as for `evaluate`
    pairs  from `load_paraphrases`
    Raises ValueError as `evaluate` does.
    """
    probe = check_probe(probe or load_probe(), world)
    said, scenes = [text for text, _ in pairs], [scene for _, scene in pairs]
    seeds = [seed + i for i in range(len(scenes))]
    real, _ = read_renders(probe, scenes, num_frames, progress)
    captions = [scene.caption for scene in scenes]
    plain, free = (
        read_made(probe, make_clips, scenes, seeds, num_frames, progress, what, texts)
        for what, texts in (("plain captions", captions), ("free wording", said))
    )
    verdicts = (
        (kind, verdict_on(ratio(group, real, "change"), ratio(group, real, "background")))
        for kind, group in (("plain captions", plain), ("free wording", free))
    )
    verdict = "; ".join(f"with {kind}, {verdict}" for kind, verdict in verdicts if verdict)
    comparison = Comparison(rows_of(plain, free), verdict, tuple(said), tuple(plain), tuple(free))
    show(comparison.table())
    return comparison
