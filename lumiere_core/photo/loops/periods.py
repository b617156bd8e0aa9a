"""Loops per pixel: every pixel its own period and start, so that neither time nor neighbours show a seam.

After Liao, Joshi and Hoppe, "Automated video looping with progressive dynamism" (SIGGRAPH 2013): a pixel with period p
and start s shows frame `s + (t - s) mod p`. Here the clip is small, `(T, h, w, 3)` in [0, 1], at its own frame rate;
`pixelwise.py` renders what is found at full size. Costs are ratios of energies: what a jump, or a border between two
loops, changes over what a step of the clip changes at the same place, so 1 is a step like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ...media.pictures import opencv
from ...progress import Progress
from .borders import UNSEEN, border_costs, contrasts, fitted_together, streams, torn

CELLS = 16_000  # pixels of the small clip, in which loops are found
LABELS = 18  # kinds of loop in one clip, the stills among them
STILLS = 3  # of which so many frames may stand still
STARTS = 256  # pairs of a period and a start that are looked at
STANDING = 5.0  # what it costs that something that moves stands still
DEAREST = 30.0  # of such a cost: what is worse is as bad
AGAIN = 12.0  # what it costs that something is repeated every frame; every 12 frames, 1
REPEATED = 24.0  # the same where lengths are compared: a river that jumps every second is seen to
STIFF = (1, 5, 25)  # times which borders between loops cost, tried one after the other until nothing tears
FADES = {0: 0.0, 2: 0.6, 4: 1.1, 6: 1.6, 8: 2.0}  # frames mixed on either side of a jump, and what that costs
# Two pictures are seen, one over the other, the more they differ: a tenth of the jump's cost is left by any fade. But
# water and smoke are no less themselves for it. What differs by more than two moments of the clip do anyway, where most
# of what lives there is alike, is somebody who fades away.
GHOST, HAZE = 0.1, 0.4
FADING, LIKE_ANY = 0.75, 1.3
RARE = (
    0.06,
    0.16,
)  # the share of the time in which something moves there: below, it passes by; above, it lives there


@dataclass(frozen=True)
class PixelLoop:
    """What each pixel of a loop shows: one of `kinds`, which are (period, start, fade) in frames.

    A period of 0 is the still picture, one of 1 a frame that stands still. fade: frames that are mixed before and after
    the jump. `cells` `(h, w)` says which kind, on a grid laid over the picture.
    """

    frames: int
    clip: int  # frames of the clip it is made from
    kinds: tuple[tuple[int, int, int], ...]
    cells: np.ndarray
    torn: float = 0.0  # how much the worst borders between kinds show, see `borders.torn`

    @property
    def moving(self) -> float:
        """The share of the cells that move."""
        return float(np.isin(self.cells, [k for k, (p, _, _) in enumerate(self.kinds) if p > 1]).mean())

    def within(self, before: int) -> PixelLoop:
        """The same loop of a longer clip, which has so many frames before this one."""
        kinds = tuple((p, s + before if p else 0, fade) for p, s, fade in self.kinds)
        return replace(self, clip=before + self.clip, kinds=kinds)


def shown_at(kind: tuple[int, int, int], t: int, clip: int) -> list[tuple[int, float]]:
    """The clip's frames that a kind of loop shows at t, and how much of each; a clip of so many frames.

    Around its jump the frames before s go over into those after s, beside the frames that they stand for: a cross-fade,
    as long as the clip has frames for it.
    """
    period, start, fade = kind
    since = (t - start) % period
    early, late = _room(period, start, fade, clip)
    if since >= period - early:  # the end is near, and what leads to the start comes in
        share = (since - (period - early) + 1) / (early + late + 1)
        return [(start + since, 1 - share), (start + since - period, share)]
    if since < late:  # what followed the end goes out
        share = (since + early + 1) / (early + late + 1)
        return [(start + since, share), (start + since + period, 1 - share)]
    return [(start + since, 1.0)]


def best_length(
    clip: np.ndarray, lengths: range, shortest: int, share: np.ndarray, progress: Progress | None = None
) -> int:
    """Which of these lengths closes best, in frames: the longest of those as good. See `pixel_loops`.

    Judged in parts of the picture, not in pixels: nearly every pixel has two quiet moments at any distance.
    """
    frames = len(clip)
    usual, eps = _usual(clip)
    usual = usual * (share > 0)
    part = max(3, max(usual.shape) // 2)

    def wide(energy: np.ndarray) -> np.ndarray:
        return opencv().blur(energy * (share > 0), (part, part))

    around = wide(usual) + eps * wide(np.ones_like(usual)) + 1e-9
    wide_usual = _Usual(around, wide(_apart(clip, eps)) + 1e-9)
    by_period = {}
    for p in range(shortest, frames):
        jumps = (wide(_jump(clip, p, s)) for s in range(frames - p + 1))
        costs = [_faded(*wide_usual.ratios(jump), p, s, frames)[0] for s, jump in enumerate(jumps)]
        by_period[p] = np.min(costs, axis=0) + REPEATED / p
        if progress:
            progress(p + 1, frames, "measuring periods")
    costs = {}
    for length in lengths:
        periods = divisors(length, shortest, frames)
        if periods:
            cost = np.min([by_period[p] for p in periods], axis=0)
            costs[length] = float((cost.clip(0, 5) * np.sqrt(usual)).sum() / max(np.sqrt(usual).sum(), 1e-9))
    best = min(costs.values())
    return max(length for length, cost in costs.items() if cost <= 1.1 * best + 0.05)


def divisors(length: int, shortest: int, frames: int) -> list[int]:
    """The periods, from `shortest` on, that go into a loop of this length and that a clip of so many frames has."""
    return [p for p in range(shortest, min(length, frames - 1) + 1) if length % p == 0]


def pixel_loops(
    clip: np.ndarray,
    length: int,
    shortest: int,
    share: np.ndarray,
    still: np.ndarray | None = None,
    progress: Progress | None = None,
    ghosts: float = 1.0,
) -> Iterator[PixelLoop]:
    """Loops of a small clip `(T, h, w, 3)` that show the fewest seams in time and between neighbours.

    The first lets neighbours differ where their motion hides it, as leaves and waves do; those after it, fewer and
    fewer, because a face or a flag hides nothing. length: of the loop, in frames; every period divides it and has at
    least `shortest` of them. share `(h, w)` in [0, 1]: how much of the motion is to be kept there; where it is 0, the
    `still` `(h, w, 3)` stands. Less than 1 keeps what loops best and moves least. Where nothing loops, a frame stands
    still, or the still picture.
    """
    usual, eps = _usual(clip)
    energies = _Usual(usual + eps, _apart(clip, eps), ghosts)
    motion = np.maximum(usual - 1.5 * eps, 0)
    heights = _heights(clip)
    duty = (usual / (np.square(heights).mean(0) + 1e-9) - RARE[0]) / (RARE[1] - RARE[0])
    lives = duty.clip(0, 1) * motion / (motion + UNSEEN)  # (h, w): whether it moves there, more than once
    standing = STANDING * lives
    stills, odd = _stills(clip, still)
    candidates = _candidates(clip, divisors(length, shortest, len(clip)), energies, lives, motion, progress)
    kinds, costs = _chosen(candidates, standing, LABELS - len(stills))
    unary = np.concatenate([standing + odd, costs]) if len(costs) else standing + odd  # (L, h, w)
    kinds = [*stills, *kinds]
    if still is not None:
        unary[1:, share == 0] = DEAREST
    pictures = streams(clip, still, kinds, length)
    between = border_costs(pictures, contrasts(clip), progress)
    free = share > 0
    for times in STIFF:
        dear = np.float32(times) * between
        cells = fitted_together(unary, dear, free, progress)
        if share[share > 0].min(initial=1) < 1:
            wanted = unary.copy()
            wanted[len(stills) :] += DEAREST * (_price(unary, cells, motion) > share)
            cells = fitted_together(wanted, dear, free, progress)
        made = replace(_with_fades(clip, length, kinds, cells, energies), torn=torn(cells, between, free))
        yield made
        if not made.torn:
            return  # dearer borders change nothing where there are none


def _heights(clip: np.ndarray) -> np.ndarray:
    """How much each step changes around each pixel, `(T - 1, h, w)`."""
    return np.stack([np.sqrt(_energy(b, a)) for a, b in zip(clip[:-1], clip[1:], strict=True)])


def _usual(clip: np.ndarray) -> tuple[np.ndarray, float]:
    """The energy of a usual step at each pixel, `(h, w)`, and what noise and the eye leave of it.

    The mean of the steps' heights, squared: somebody who passes once counts for little.
    """
    usual = np.square(_heights(clip).mean(0))
    return usual, UNSEEN + min(float(np.quantile(usual, 0.1)), (8 / 255) ** 2)


def _energy(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean squared difference of two pictures `(h, w, 3)` around each pixel, `(h, w)`."""
    return np.maximum(opencv().blur(np.square(a - b).mean(-1), (3, 3)), 0)  # its running sums go below 0


def _jump(clip: np.ndarray, period: int, start: int) -> np.ndarray:
    """What the jump of a loop changes, `(h, w)`: in the frame after it and the one before, where the clip has them."""
    ends = [(i, i + period) for i in (start - 1, start) if i >= 0 and i + period < len(clip)]
    return np.mean([_energy(clip[a], clip[b]) for a, b in ends], axis=0)


def _stills(clip: np.ndarray, still: np.ndarray | None) -> tuple[list[tuple[int, int]], np.ndarray]:
    """What may stand still, as (period, start), and what it costs that something passes there just then, `(S, h, w)`.

    The still picture, or the frame most like the clip's median, and those that show what passes in the others.
    """
    some = clip[:: max(1, len(clip) // 40)]
    middle = np.median(some, axis=0)
    spread = np.median([_energy(frame, middle) for frame in some], axis=0)
    odd = [(_energy(frame, middle) / (4 * spread + UNSEEN) - 1).clip(0, DEAREST / 3) for frame in clip]
    chosen, costs = [], []
    if still is not None:
        chosen, costs = (
            [(0, 0)],
            [(_energy(still, middle) / (4 * spread + UNSEEN) - 1).clip(0, DEAREST / 3) / 2],
        )
    for _ in range(STILLS):
        least = np.minimum.reduce(costs) if costs else np.full(middle.shape[:2], DEAREST)
        totals = [np.minimum(least, cost).sum() for cost in odd]
        best = int(np.argmin(totals))
        if costs and totals[best] > 0.8 * least.sum():
            break
        chosen.append((1, best))
        costs.append(odd[best])
    return chosen, np.stack(costs)


def _candidates(
    clip: np.ndarray,
    periods: list[int],
    energies: _Usual,
    lives: np.ndarray,
    motion: np.ndarray,
    progress: Progress | None,
) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Periods and starts, and what each costs at each pixel, `(n, h, w)`.

    That is its jump; what is left out of the motion of what lives there, because a quiet moment of it makes a clean
    loop, and is as bad as standing still; and whoever passes by in it, because he would do so again and again.
    """
    every = max(1, -(-sum(len(clip) - p + 1 for p in periods) // STARTS))
    heights = _heights(clip)
    done, spent = (_summed(part) for part in (heights, np.square(heights)))
    passes = STANDING * (motion / (motion + UNSEEN) - lives)
    kinds, costs = [], []
    for period in periods:
        for start in range(0, len(clip) - period + 1, every):
            jump = _jump(clip, period, start)
            cost, _ = _faded(*energies.ratios(jump), period, start, len(clip))
            last = start + period - 1
            seen = (done[last] - done[start]) / (period - 1) / (done[-1] / len(heights) + 1e-9)
            cost += STANDING * lives * ((0.85 - seen).clip(0) / 0.85 + (seen - 1.25).clip(0, 1))
            bursts = (spent[last] - spent[start]) / (period - 1) / energies.step
            cost += passes * (bursts / 3 - 1).clip(0, 1) + AGAIN / period * lives
            kinds.append((period, start))
            if progress:
                progress(len(kinds), max(STARTS, len(kinds)), "measuring loops")
            costs.append(cost.clip(0, DEAREST).astype(np.float32))
    return kinds, np.stack(costs) if costs else np.zeros((0, *lives.shape), np.float32)


def _summed(steps: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ... steps, `(T, h, w)`."""
    return np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)])


@dataclass(frozen=True)
class _Usual:
    """What is usual at each pixel, energies `(h, w)`: of a step, and between two moments; and what ghosts cost here."""

    step: np.ndarray
    apart: np.ndarray
    ghosts: float = 1.0

    def ratios(self, jump: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """A jump's energy over both, and what ghosts cost, as `_faded` takes them."""
        return jump / self.step, jump / self.apart, self.ghosts


def _apart(clip: np.ndarray, eps: float) -> np.ndarray:
    """How far two moments of the clip are from each other at each pixel, as energies: twice its variance, `(h, w)`."""
    middle = clip.mean(0)
    return 2 * np.mean([_energy(frame, middle) for frame in clip], axis=0) + eps


def _faded(
    jump: np.ndarray, unlike: np.ndarray, ghosts: float, period: int, start: int, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """What a jump costs with the cross-fade that makes the best of it, and the fade's frames, an index of FADES.

    The jump's energy over a usual step's, and over that between two moments of the clip.
    """
    mixed = ghosts * (np.minimum(GHOST * jump, HAZE) + FADING * (unlike - LIKE_ANY).clip(0))
    costs = []
    for fade, cost in FADES.items():
        early, late = _room(period, start, fade, frames)
        ghost = mixed if early + late else 0
        costs.append(jump / (early + late + 1) ** 2 + ghost + cost + (early + late) / period)
    return np.min(costs, axis=0), np.argmin(costs, axis=0)


def _room(period: int, start: int, fade: int, frames: int) -> tuple[int, int]:
    """How many frames before and after its jump a loop can mix, of `fade` on either side."""
    return min(fade, start, period // 3), min(fade, frames - start - period, period // 3)


def _chosen(
    candidates: tuple[list[tuple[int, int]], np.ndarray], standing: np.ndarray, most: int
) -> tuple[list[tuple[int, int]], np.ndarray]:
    """The few candidates that serve the picture best together, each taken for what it adds to those before it."""
    kinds, costs = candidates
    least, total = standing.astype(np.float32), float(standing.sum())
    taken: list[int] = []
    for _ in range(min(most, len(kinds))):
        gains = np.array([np.maximum(least - cost, 0).sum() for cost in costs])
        gains[taken] = 0
        best = int(gains.argmax())
        if gains[best] <= 0.003 * total:
            break
        taken.append(best)
        least = np.minimum(least, costs[best])
    return [kinds[k] for k in taken], costs[taken]


def _price(unary: np.ndarray, cells: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """What share of the motion lies in pixels that loop better and move less than each, `(h, w)` in [0, 1]."""
    cost = np.take_along_axis(unary, cells[None], 0)[0].clip(0, DEAREST)
    price = opencv().GaussianBlur(cost + motion / max(float(motion.mean()), UNSEEN), (0, 0), 2)
    order, energy = np.argsort(price, axis=None), np.sqrt(motion).ravel()
    out = np.empty(price.size)
    out[order] = np.cumsum(energy[order]) / max(float(energy.sum()), 1e-9)
    return out.reshape(price.shape)


def _with_fades(
    clip: np.ndarray,
    length: int,
    kinds: list[tuple[int, int]],
    cells: np.ndarray,
    energies: _Usual,
) -> PixelLoop:
    """The loop with the cross-fade at each pixel that makes the best of its jump."""
    fades = np.zeros(cells.shape, np.uint8)
    for k, (period, start) in enumerate(kinds):
        if period > 1 and (here := cells == k).any():
            jump = _jump(clip, period, start)
            jump, unlike, ghosts = energies.ratios(jump)
            jump, unlike = (opencv().GaussianBlur(ratio, (0, 0), 1.5) for ratio in (jump, unlike))
            best = _faded(jump, unlike, ghosts, period, start, len(clip))[1]
            fades[here] = np.array(list(FADES))[best][here]
    fades = opencv().medianBlur(fades, 5).astype(int)
    fades[np.isin(cells, [k for k, (period, _) in enumerate(kinds) if period < 2])] = 0
    codes, cells = np.unique(cells * 100 + fades, return_inverse=True)
    named = tuple((*kinds[code // 100], int(code % 100)) for code in codes)
    return PixelLoop(length, len(clip), named, cells.reshape(fades.shape).astype(np.uint8))
