"""A run's log as a picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from lumiere_core.train.gauge import append
from lumiere_core.train.plot import apart, plot_runs, read_log, tick_values, to_svg

SVG = "{http://www.w3.org/2000/svg}"


def entry(minutes: float, frames: int = 20, boiling: dict | None = None, **more) -> dict:
    levels = {"955": 0.05, "3": 0.02, "0.3": 0.01}
    found = {"955": 3.0, "3": 2.0, "0.3": 9.0} if boiling is None else boiling
    gap = {"955": 0.04, "3": 0.0, "0.3": -0.001}
    facts = {"step": int(minutes * 20), "minutes": minutes, "loss": 0.1 / minutes, "frames": frames}
    return {**facts, "error": levels, "gap": gap, "boiling": found, **more}


def texts(svg: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def lines(svg: str) -> list[list[tuple[float, float]]]:
    return [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    ]


def test_there_is_a_labelled_line_for_each_noise_level_and_time_runs_to_the_right():
    svg = to_svg([entry(5), entry(10), entry(15)], "temporal")
    found = lines(svg)
    assert len(found) == 1 + 3 * 3 and {len(line) for line in found} == {3}
    assert all(a[0] < b[0] < c[0] for a, b, c in found)
    assert found[0][0][1] < found[0][1][1] < found[0][2][1]  # a loss that falls goes down
    assert texts(svg).count("sigma 955") == texts(svg).count("sigma 0.3") == 3
    assert "temporal: step 300 after 15 minutes" in texts(svg)


def test_a_larger_error_is_drawn_higher():
    most, middle, least = lines(to_svg([entry(5), entry(10)], "x"))[1:4]  # sigma 955, 3, 0.3
    assert most[0][1] < middle[0][1] < least[0][1]


def test_the_image_stage_has_no_boiling_and_a_longer_clip_is_marked():
    assert not [text for text in texts(to_svg([entry(5, 1, {})], "t2i")) if "boiling" in text]
    svg = to_svg([entry(5), entry(10), entry(15, 80)], "temporal")
    assert [text for text in texts(svg) if "boiling" in text]
    assert texts(svg).count("80 frames") == 4 and "20 frames" not in texts(svg)


def test_everything_stays_in_the_picture():
    strange = [entry(0.01), entry(900, error={"955": 0.0, "3": 1e-9, "0.3": 7.0}, gap={"955": 30.0})]
    svg = to_svg(strange, "a <b> & c")
    picture = ElementTree.fromstring(svg)
    width, height = float(picture.get("width")), float(picture.get("height"))
    for line in lines(svg):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in line)
    assert "a <b> & c" in texts(svg)[0]


def test_labels_do_not_cover_each_other():
    placed = apart([50.0, 51.0, 49.0, 100.0], 13, 0, 100)
    assert all(b - a >= 13 - 1e-9 for a, b in zip(sorted(placed), sorted(placed)[1:], strict=False))
    assert placed[2] < placed[0] < placed[1] < placed[3] <= 100


@pytest.mark.parametrize(
    "low, high, logarithmic, expected",
    [
        (0, 47, False, [0, 10, 20, 30, 40]),
        (-0.01, 0.1, False, [0, 0.05, 0.1]),
        (0.008, 0.06, True, [0.01, 0.02, 0.05]),
        (0.9, 12, True, [1, 2, 5, 10]),
        (0.06, 0.11, True, [0.06, 0.08, 0.1]),
    ],
)
def test_ticks_are_round_numbers(low, high, logarithmic, expected):
    assert tick_values(low, high, logarithmic) == pytest.approx(expected)


def test_a_half_written_last_line_is_left_out_and_others_are_named(tmp_path):
    append(tmp_path, entry(5))
    append(tmp_path, entry(10))
    path = tmp_path / "log.jsonl"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + '{"step": 3', encoding="utf-8")
    assert [e["minutes"] for e in read_log(tmp_path)] == [5, 10]
    path.write_text('{"step": 3}\n' + whole, encoding="utf-8")
    with pytest.raises(ValueError, match="line 1 of .* is no line of a training log"):
        read_log(tmp_path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="is empty"):
        read_log(tmp_path)
    with pytest.raises(ValueError, match="there is no log.jsonl"):
        read_log(tmp_path / "nowhere")


def test_every_run_with_a_log_is_drawn_beside_it(tmp_path: Path):
    for stage in ("t2i", "temporal"):
        (tmp_path / stage).mkdir()
        append(tmp_path / stage, entry(5))
    (tmp_path / "ssr").mkdir()
    written = plot_runs(tmp_path)
    assert written == [tmp_path / "t2i" / "log.svg", tmp_path / "temporal" / "log.svg"]
    assert "t2i: step 100 after 5 minutes" in texts(written[0].read_text(encoding="utf-8"))
    assert json.loads((tmp_path / "t2i" / "log.jsonl").read_text(encoding="utf-8")) == entry(5)
    with pytest.raises(ValueError, match="no run with a log"):
        plot_runs(tmp_path / "ssr")


def test_super_resolution_has_its_own_chart():
    facts = [
        {
            "minutes": m,
            "loss": 0.01,
            "gain": {"exact": m / 5, "spoilt": 0.1},
            "boiling": {"exact": 1.2, "spoilt": 2.0},
        }
        for m in (5, 10)
    ]
    svg = to_svg(facts, "ssr")
    assert any("bicubic" in text for text in texts(svg))
    assert texts(svg).count("exact") == texts(svg).count("spoilt") == 2
