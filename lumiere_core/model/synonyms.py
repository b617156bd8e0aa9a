"""Free wording: what people type, as the words that a small vocabulary has.

A row says which phrases stand for which words of the model, by kind: names, colours, verbs in their tenses, places and
hours with their prepositions. A phrase is replaced only where the vocabulary has the words it stands for and lacks a
word of the phrase itself, so that no caption a model was trained on is ever changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

NEGATIONS = frozenset(
    "not no never without isn't aren't wasn't doesn't don't didn't won't can't cannot".split()
)
ARTICLES = frozenset(("a", "an", "the", "any"))

SHADES = {
    "red": "crimson, scarlet, ruby, vermilion, cherry, maroon, brick",
    "orange": "amber, tangerine, apricot, pumpkin, rust",
    "yellow": "golden, gold, lemon, mustard, canary",
    "green": "emerald, lime, olive, jade, mint, moss, forest",
    "blue": "navy, azure, cobalt, sapphire, sky, royal, midnight",
    "purple": "violet, lilac, lavender, mauve, plum, amethyst",
    "pink": "fuchsia, magenta, salmon",
    "white": "ivory, snow",
}
ONLY_BESIDE_ITS_COLOUR = {
    "sky",
    "forest",
    "royal",
    "midnight",
    "brick",
    "rust",
    "snow",
}  # "sky" alone is no colour
NAMES_OF = {
    "balloon": "balloon, hot air balloon, air balloon",
    "boat": "boat, sailboat, sail boat, fishing boat, rowing boat, rowboat, ship, sailing ship, yacht, dinghy, vessel",
    "fish": "fish, tropical fish",
    "orange fish": "goldfish, gold fish",
    "windmill": "windmill, wind mill, mill",
    "campfire": "campfire, camp fire, bonfire, fire",
    "bird": "bird, seagull, gull",
    "ball": "ball",
    "star": "star",
    "fountain": "fountain",
    "flag": "flag, banner",
}
PLACE_NAMES = {  # and the colours they have of their own, which are no colour of the subject
    "the sea": ("ocean, open ocean, open sea, water, waves, seas", "blue, deep blue, dark blue"),
    "the meadow": (
        "field, grassy field, grass, grassland, pasture, prairie, lawn, meadows",
        "green, lush green",
    ),
    "the desert": ("dunes, sand dunes, dune, sand, sands, sahara, deserts", "yellow, golden, orange"),
    "snowy hills": ("snowy mountains, snow covered hills, snowy landscape, snowy hill", "white"),
}
HOURS = {
    "by day": "day, daylight, daytime, day time, midday, noon, noontime, afternoon, morning, sunshine, sunlight, "
    "sunny day, bright day, sunny afternoon, sunny morning, broad daylight, bright daylight",
    "at sunset": "sunset, dusk, twilight, evening, sundown, nightfall, golden hour, evening light, sunset light, "
    "sunset glow, evening glow, sunset sky, setting sun",
    "at night": "night, nighttime, night time, midnight, moonlight, starlight, darkness, starry night, moonlit night, "
    "dark night, night sky",
}
SKIES = {
    "by day": "blue sky, clear blue sky, sun",
    "at sunset": "setting sun, evening sky",
    "at night": "moon, full moon, stars, starry sky, night sky",
}
RESTING = (
    "motionless, stationary, unmoving, immobile, at rest, anchored, at anchor, moored, stopped, becalmed, in place, "
    "in one spot, on the spot"
)
STILL_VERBS = (
    "hover, hover in place, hover in the air, hang in the air, hang still, stay still, stay put, stay in place, "
    "lie still, sit still, float still, float in place, hold still, keep still, remain still, rest, stand motionless"
)
TRAVELS = "move, travel, go, glide, float, drift, cruise, sail, fly, swim, pass, cross, head"
PACED = "windmill campfire flag fountain"  # only these are slow or fast in a caption

IRREGULAR = {
    "burn": "burn burns burned burnt burning",
    "come": "come comes came coming",
    "dive": "dive dives dived dove diving",
    "drop": "drops dropped dropping",  # not "drop", of water
    "fall": "falls fell fallen falling",  # not "fall", the season
    "fly": "fly flies flew flown flying",
    "go": "go goes went gone going",
    "hang": "hang hangs hung hanging",
    "head": "heads headed heading",  # not "head", of a fish
    "hold": "hold holds held holding",
    "keep": "keep keeps kept keeping",
    "lie": "lie lies lay lain lying",
    "pass": "passes passed passing",  # not "pass", of a mountain
    "rest": "rests rested resting",  # not "the rest"
    "rise": "rise rises rose risen rising",
    "rock": "rocks rocked rocking",  # not "rock", of stone
    "sail": "sails sailed sailing",  # not "sail", of cloth
    "sink": "sink sinks sank sunk sinking",
    "sit": "sit sits sat sitting",
    "spin": "spin spins spun spinning",
    "stand": "stand stands stood standing",
    "swim": "swim swims swam swum swimming",
    "swing": "swing swings swung swinging",
    "travel": "travel travels travelled traveled travelling traveling",
}


@dataclass(frozen=True)
class Row:
    """Phrases that stand for words of the model, perhaps only beside one of some other words."""

    words: str
    phrases: tuple[str, ...]
    beside: frozenset[str] = frozenset()  # one of these has to be in the prompt; none means always


def listed(text: str) -> list[str]:
    """ "a, b c" -> ["a", "b c"]"""
    return [part.strip() for part in text.split(",")]


def forms(verb: str) -> list[str]:
    """The tenses of a verb, with the words behind it: "hover in place" -> "hovers in place", "hovering in place"."""
    first, _, rest = verb.partition(" ")
    if first in IRREGULAR:
        found = IRREGULAR[first].split()
    else:
        stem = first.removesuffix("e")
        if re.fullmatch(r"[^aeiou]+[aeiou][bdgmnpt]", first):  # bob, bobbing
            stem += first[-1]
        third = first + ("es" if first.endswith(("s", "sh", "ch")) else "s")
        found = [first, third, stem + "ed", stem + "ing"]
    return [f"{form} {rest}".strip() for form in found]


def verbs(text: str) -> list[str]:
    """All tenses of the verbs in a list."""
    return [form for verb in listed(text) for form in forms(verb)]


def joined(*parts: Sequence[str]) -> list[str]:
    """Every way to say one of each; "" leaves a part out."""
    return [" ".join(word for word in words if word) for words in product(*parts)]


def rows() -> Iterator[Row]:
    """The table. The first row that fits is taken, so those beside other words come first."""

    def row(words: str, phrases: Sequence[str], beside: str = "") -> Row:
        return Row(words, tuple(phrases), frozenset(beside.split()))

    # Motion: which word it is depends on who moves.
    yield row("waving", verbs("wave, flutter, flap"), "flag")
    yield row("burning slowly", verbs("smoulder, smolder, glow, flicker, burn low"), "campfire")
    yield row("burning fast", verbs("blaze, roar, rage, flare"), "campfire")
    yield row("burning", verbs("burn"), "campfire")
    round_and_round = verbs("turn, spin, rotate, revolve, whirl, twirl, go round, go around")
    yield row("turning", round_and_round, "windmill")
    yield row("spinning", round_and_round, "star")
    yield row("falling", verbs("fall"), "star")
    yield row("bouncing", verbs("bounce, hop"), "ball")
    swaying = joined(verbs("rock, bob, sway, pitch, bob up and down"), ("", "gently", "softly"))
    yield row("rocking", swaying, "boat")
    yield row("swinging", joined(verbs("swing, sway"), ("", "gently", "softly")), "balloon")
    slow = "slow, gently, softly, lazily, leisurely, unhurriedly, at a leisurely pace, at a slow pace, in slow motion"
    yield row("slowly", listed(slow), PACED)
    fast = "quickly, rapidly, swiftly, briskly, fiercely, furiously, wildly, quick, rapid, at speed, at high speed"
    yield row("fast", listed(fast), PACED)

    for negation, verb in product(sorted(NEGATIONS), verbs("move, turn, spin, rotate, drift, float, budge")):
        yield row("standing still", (f"{negation} {verb}", f"{negation} {verb} at all"))
    yield row("standing still", [*listed(RESTING), *verbs(STILL_VERBS)])
    yield row("rising", verbs("rise, ascend, climb, soar, lift, lift off, lift up, take off"))
    yield row("sinking", verbs("sink, descend, fall, drop, dive"))
    going = verbs(TRAVELS + ", come, rise, climb, soar, dive, sink, fall, drop")
    yield row("rising", joined(going, ("up", "upward", "upwards")))
    yield row("sinking", joined(going, ("down", "downward", "downwards")))
    for words, subject in (
        ("drifting", "balloon star"),
        ("sailing", "boat"),
        ("swimming", "fish"),
        ("flying", "bird"),
        ("rolling", "ball"),
    ):
        yield row(words, verbs(TRAVELS), subject)
    for side, other in (("left", "right"), ("right", "left")):
        towards = joined(("", "off", "over"), ("to", "toward", "towards"), ("the",), (side,))
        towards = joined(towards, ("", "side", "hand side"))
        yield row(side, [f"{side}ward", f"{side}wards", *towards, f"from {other} to {side}"])
        yield row(
            side, [f"{other} to {side}", f"from the {other} to the {side}", f"from {other} towards {side}"]
        )

    # Hours and places, which may hold the name of a colour.
    before = ("", "at", "by", "in", "in the", "at the", "during", "during the", "on a", "late at", "in full")
    under = joined(("under", "beneath", "below"), ("a", "the"))
    for words, hours in HOURS.items():
        yield row(words, joined(before, listed(hours)))
        yield row(words, joined([*under, "against a", "in front of a", "against the"], listed(SKIES[words])))
    yield row("by day", ["sunny", "sunlit"])
    yield row("at night", ["after dark", "in the dark", "moonlit"])
    suns = ("the sun sets", "the sun goes down", "the sun is setting", "the sun is going down")
    yield row("at sunset", joined(("as", "when", "while"), suns))
    deep = joined(("under", "beneath", "below"), ("", "the"), ("water", "waves", "surface", "sea", "ocean"))
    yield row(
        "underwater", [*deep, "submerged", "deep sea", *joined(("in", "into"), ("the deep", "the depths"))]
    )
    for words, (places, colours) in PLACE_NAMES.items():
        plain = words.removeprefix("the ")
        yield row(words, joined(("", "a", "an", "the"), ("", *listed(colours)), [*listed(places), plain]))

    # Names and colours.
    for words, names in NAMES_OF.items():
        yield row(
            words, [name + s for name in listed(names) for s in ("", "es" if name.endswith("sh") else "s")]
        )
    for words, names in SHADES.items():
        shades = listed(names)
        alone = [shade for shade in shades if shade not in ONLY_BESIDE_ITS_COLOUR]
        yield row(words, joined(["", *shades], (words,), ("", "coloured", "colored")))
        yield row(words, joined(alone, ("", "coloured", "colored")))


@cache
def table() -> dict[tuple[str, ...], tuple[Row, ...]]:
    """Rows by the words of their phrases, in the order of `rows`."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows():
        for phrase in row.phrases:
            found.setdefault(tuple(phrase.split()), []).append(row)
    return {phrase: tuple(group) for phrase, group in found.items()}


class Wording:
    """Prompts as the words of one vocabulary.

    Long phrases come before short ones. A word behind "not" or "no" is left out, and named with it: the model can only
    add what it reads. "not moving" is a phrase of its own.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.known = frozenset(vocabulary)
        self.phrases = {
            phrase: tuple(row for row in group if self.known.issuperset(row.words.split()))
            for phrase, group in table().items()
            if not self.known.issuperset(phrase)
        }
        self.longest = max(map(len, self.phrases), default=1)

    def __call__(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """Words in lower case -> those that the vocabulary has, in order, and what it lacks."""
        subjects, _ = self.read(words, frozenset())
        return self.read(words, frozenset(subjects))

    def read(self, words: Sequence[str], beside: frozenset[str]) -> tuple[list[str], list[str]]:
        """One pass, knowing what else the prompt holds."""
        known: list[str] = []
        unknown: list[str] = []
        i = 0
        while i < len(words):
            length, found = self.at(words, i, beside)
            if not found and (denied := self.denied(words, i, beside)):
                unknown.append(" ".join(words[i : i + denied]))
                i += denied
                continue
            if not found:
                unknown.append(words[i])
            replaced = found != list(words[i : i + length])
            if not (
                replaced and known[len(known) - len(found) :] == found
            ):  # "hovers motionless" is said once
                known += found
            i += length
        return known, unknown

    def at(self, words: Sequence[str], i: int, beside: frozenset[str]) -> tuple[int, list[str]]:
        """How many words are read at `i`, and as what; one, and nothing, where none is known."""
        for length in range(min(self.longest, len(words) - i), 0, -1):
            for row in self.phrases.get(tuple(words[i : i + length]), ()):
                if not row.beside or row.beside & beside:
                    return length, row.words.split()
        return 1, [words[i]] if words[i] in self.known else []

    def denied(self, words: Sequence[str], i: int, beside: frozenset[str]) -> int:
        """How many words a "not" at `i` takes with it; 0 where there is none, or nothing known behind it."""
        if words[i] not in NEGATIONS:
            return 0
        j = i + 1 + (words[i + 1 : i + 2] != [] and words[i + 1] in ARTICLES)
        length, found = self.at(words, j, beside) if j < len(words) else (0, [])
        if found and found[-1] in SHADES and j + length < len(words):  # "no red balloon"
            more, named = self.at(words, j + length, beside)
            length += more if " ".join(named) in NAMES_OF else 0
        return j + length - i if found else 0
