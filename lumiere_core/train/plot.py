"""`train plot`: a run's log as an SVG, drawn by hand, in colours that can be read on light and on dark."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ..outputs import write_whole
from .gauge import LOG

Line = list[tuple[float, float]]  # (minutes, value)
PLOT_WIDTH, CHART_HEIGHT = 720, 190  # pixels of the picture, and of one chart with its heading
LEFT, RIGHT, TOP, BOTTOM = 52, 76, 30, 24  # margins of a chart
INK = "#7d7d7d"  # 4.1 to 1 on white and 4.6 to 1 on #111
# Warm where a clip begins, cold where it is all but done.
LINE_COLOURS = ("#d1495b", "#d9722e", "#b8900b", "#5a9e3d", "#1f9e94", "#3b86d1", "#8a6fd1")


@dataclass(frozen=True)
class Chart:
    """One of the charts: what it shows, its lines by name, and its scale."""

    title: str
    lines: dict[str, Line]
    logarithmic: bool = False
    percent: bool = False


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log. The last one may be half written, as training goes on.

    Raises ValueError where there is no log, or a line of it is none.
    """
    path = folder / LOG
    if not path.exists():
        raise ValueError(f"there is no {LOG} in {folder}. A run writes its first line after five minutes.")
    texts = path.read_text(encoding="utf-8").splitlines()
    entries = []
    for number, text in enumerate(texts, 1):
        try:
            entry = json.loads(text)
            float(entry["minutes"]), float(entry["loss"])
        except (ValueError, KeyError, TypeError) as error:
            if number == len(texts) > 1:
                break
            raise ValueError(
                f"line {number} of {path} is no line of a training log ({error}). Remove it."
            ) from error
        entries.append(entry)
    if not entries:
        raise ValueError(f"{path} is empty. A run writes its first line after five minutes.")
    return entries


def level_name(level: str) -> str:
    """What a line is for: a noise level, or a kind of clip by its name."""
    return f"sigma {level}" if level[:1].isdigit() else level


def charts(entries: Sequence[dict[str, Any]]) -> list[Chart]:
    """Loss, error, word gap and boiling over minutes; those without a number are left out."""

    def levels(name: str) -> dict[str, Line]:
        lines: dict[str, Line] = {}
        for entry in entries:
            for level, value in entry.get(name, {}).items():
                lines.setdefault(level_name(level), []).append((entry["minutes"], value))
        return lines

    losses = [
        (e["minutes"], e["loss"]) for e in entries if e["loss"]
    ]  # a run's first line may come before a step
    found = [
        Chart("training loss", {"loss": losses} if losses else {}, logarithmic=True),
        Chart("held-out loss, by place in the table of noise levels", levels("unseen"), logarithmic=True),
        Chart("held-out error of x0 in one step, by noise level", levels("error"), logarithmic=True),
        Chart("word gap: what the opposite direction word adds to the error", levels("gap"), percent=True),
        Chart("what super-resolution gains over bicubic in one step, dB", levels("gain")),
        Chart("boiling of x0 in one step; 1 is the true clip", levels("boiling"), logarithmic=True),
    ]
    return [chart for chart in found if chart.lines]


def tick_values(low: float, high: float, logarithmic: bool) -> list[float]:
    """Round numbers between two values, about five."""
    if logarithmic:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = [(1.0, 2.0, 5.0), (1.0,)][high / low > 300]
        if high / low < 3:
            steps = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
        found = [m * 10.0**p for p in powers for m in steps]
    else:
        rough = (high - low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        found = [step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9) or value == 0]


def scale(low: float, high: float, start: float, end: float, logarithmic: bool) -> Callable[[float], float]:
    """Values to pixels."""
    bend = math.log if logarithmic else float

    def place(value: float) -> float:
        return start + (end - start) * (bend(value) - bend(low)) / (bend(high) - bend(low))

    return place


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights of labels, moved as little as a simple sweep can so that neighbours are `gap` apart."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    placed = list(wanted)
    floor = low
    for i in order:
        placed[i] = floor = max(placed[i], floor)
        floor += gap
    ceiling = high
    for i in reversed(order):
        placed[i] = ceiling = min(placed[i], ceiling)
        ceiling -= gap
    return placed


def span(chart: Chart) -> tuple[float, float]:
    """Lowest and highest value that the chart shows, with a little room."""
    values = [value for line in chart.lines.values() for _, value in line]
    if chart.logarithmic:
        values = [max(value, 1e-6) for value in values]
        return min(values) / 1.15, max(values) * 1.15
    low, high = min(0.0, *values), max(0.0, *values)
    room = 0.06 * (high - low) or 0.01
    return low - room, high + room


def draw(chart: Chart, top: float, minutes: float, changes: Sequence[tuple[float, int]]) -> list[str]:
    """One chart as SVG elements. changes: (minutes, frames) where the clips became longer or shorter."""
    low, high = span(chart)
    x = scale(0, minutes, LEFT, PLOT_WIDTH - RIGHT, False)
    y = scale(low, high, top + CHART_HEIGHT - BOTTOM, top + TOP, chart.logarithmic)
    parts = [f'<text x="{LEFT}" y="{top + 18}" class="title">{escape(chart.title)}</text>']
    for value in tick_values(low, high, chart.logarithmic):
        label = f"{100 * value:g} %" if chart.percent else f"{value:g}"
        parts += [
            f'<line x1="{LEFT}" x2="{PLOT_WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" class="grid"/>',
            f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{label}</text>',
        ]
    for value in tick_values(0, minutes, False):
        label = f"{value:g} min" if value == 0 else f"{value:g}"
        parts.append(
            f'<text x="{x(value):.1f}" y="{top + CHART_HEIGHT - 8}" text-anchor="middle">{label}</text>'
        )
    for minute, frames in changes:
        parts += [
            f'<line x1="{x(minute):.1f}" x2="{x(minute):.1f}" y1="{top + TOP}" y2="{top + CHART_HEIGHT - BOTTOM}" '
            'class="change"/>',
            f'<text x="{x(minute) + 4:.1f}" y="{top + TOP + 10}">{frames} frames</text>',
        ]
    ends = [y(max(line[-1][1], 1e-6) if chart.logarithmic else line[-1][1]) for line in chart.lines.values()]
    heights = apart(ends, 13, top + TOP, top + CHART_HEIGHT - BOTTOM)
    for i, ((name, line), end, height) in enumerate(zip(chart.lines.items(), ends, heights, strict=True)):
        colour = LINE_COLOURS[i % len(LINE_COLOURS)] if len(chart.lines) > 1 else LINE_COLOURS[5]
        points = [(x(m), y(max(v, 1e-6) if chart.logarithmic else v)) for m, v in line]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts += [
            f'<polyline points="{path}" stroke="{colour}"/>',
            *(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="1.8" fill="{colour}"/>' for px, py in points),
            f'<line x1="{points[-1][0] + 3:.1f}" y1="{end:.1f}" x2="{PLOT_WIDTH - RIGHT + 14}" y2="{height:.1f}" '
            f'stroke="{colour}" class="lead"/>',
            f'<text x="{PLOT_WIDTH - RIGHT + 17}" y="{height + 4:.1f}" style="fill:{colour}">{escape(name)}</text>',
        ]
    return parts


def to_svg(entries: Sequence[dict[str, Any]], name: str) -> str:
    """The log of a run as an SVG picture."""
    minutes = max(entry["minutes"] for entry in entries) or 1.0
    frames = [(entry["minutes"], entry.get("frames", 0)) for entry in entries]
    changes = [now for before, now in zip(frames, frames[1:], strict=False) if now[1] != before[1]]
    found = charts(entries)
    height = 24 + CHART_HEIGHT * len(found)
    last = entries[-1]
    heading = f"{name}: step {last.get('step', '?')} after {last['minutes']:g} minutes"
    body = [
        f'<text x="{LEFT}" y="20" class="title">{escape(heading)}</text>',
        *(
            part
            for i, chart in enumerate(found)
            for part in draw(chart, 24 + CHART_HEIGHT * i, minutes, changes)
        ),
    ]
    style = (
        f"text{{font:11px sans-serif;fill:{INK}}}.title{{font-weight:bold;font-size:12px}}"
        f".grid{{stroke:{INK};stroke-opacity:.3;stroke-width:.6}}.change{{stroke:{INK};stroke-dasharray:3 3}}"
        ".lead{stroke-width:.7;stroke-opacity:.6}polyline{fill:none;stroke-width:1.6}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PLOT_WIDTH} {height}" width="{PLOT_WIDTH}" '
        f'height="{height}" role="img">\n<title>{escape(heading)}</title>\n<style>{style}</style>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def plot_runs(runs: Path) -> list[Path]:
    """Draw the log of every run in a folder beside it, as `log.svg`. Raises ValueError where there is none."""
    folders = sorted(path.parent for path in runs.glob(f"*/{LOG}"))
    if not folders:
        raise ValueError(f"there is no run with a {LOG} in {runs}. Name the folder of the runs with --runs.")
    written = []
    for folder in folders:
        path = folder / "log.svg"
        write_whole(path, to_svg(read_log(folder), folder.name).encode())
        written.append(path)
    return written
