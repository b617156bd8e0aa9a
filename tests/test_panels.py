"""The panels on the nodes: the picture a clip travels in, windows drawn as sampled, and words that stay words."""

from __future__ import annotations

import base64
import dataclasses
import html
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from lumiere_core.diffusion.windows import Windows
from lumiere_core.photo import field as fields
from lumiere_core.photo.brush import Brush, painter
from lumiere_core.photo.strokes import BRUSH_PRESETS, Stroke, drawing_of

ROOT = Path(__file__).resolve().parent.parent
JS = ROOT / "js"
PIXELS = SimpleNamespace(latent_rgb_factors=torch.eye(3).tolist(), latent_rgb_factors_bias=None)


def module_of(name: str):
    """A module of nodes/host by itself, as the host's own modules are not there."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "nodes" / "host" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def preview():
    pytest.importorskip("PIL")
    return module_of("preview")


@pytest.fixture
def server(preview, monkeypatch):
    """A host's server, and what was sent through it."""
    sent: list[dict] = []
    server = SimpleNamespace(
        client_id="c", last_node_id="1:5", send_sync=lambda event, data, to: sent.append(data)
    )
    monkeypatch.setattr(preview, "watched", lambda: server)
    return sent


def clip(frames: int, height: int = 32, width: int = 48) -> torch.Tensor:
    """Every frame one grey, from black to white."""
    return torch.linspace(-1, 1, frames).view(1, 1, -1, 1, 1).expand(1, 3, frames, height, width)


def sample(preview, x0: torch.Tensor, steps: int = 1, latent_format: SimpleNamespace = PIXELS) -> None:
    shown = preview.ClipPreview(SimpleNamespace(model=SimpleNamespace(latent_format=latent_format)))
    for step in range(steps):
        shown.step(step, x0, x0, steps)


def test_a_player_finds_every_frame_in_its_cell(preview, server):
    from PIL import Image

    sample(preview, clip(11, 96, 144))
    (told,) = server
    sheet = Image.open(io.BytesIO(base64.b64decode(told["jpeg"])))
    width, height = told["width"], told["height"]
    assert (width, height, told["frames"], told["length"], told["fps"]) == (64, 43, 11, 11, 16)
    assert sheet.size == (told["columns"] * width, told["rows"] * height)
    for i in range(11):
        x, y = i % told["columns"] * width, i // told["columns"] * height
        assert sheet.getpixel((x + width // 2, y + height // 2))[0] == pytest.approx(25.5 * i, abs=3)


def test_a_long_clip_leaves_frames_out_and_plays_as_long(preview, server):
    sample(preview, clip(400))
    assert server[0]["frames"] == 134 and server[0]["frames"] / server[0]["fps"] == pytest.approx(
        400 / 16, rel=0.01
    )


def test_frames_as_batch_are_coloured_as_the_host_does(preview, server):
    latent = SimpleNamespace(latent_rgb_factors=[[0.5, 0, 0]] * 4, latent_rgb_factors_bias=[0, 0.25, 0])
    x0 = torch.full((6, 4, 8, 8), 0.25)
    assert torch.allclose(preview.in_colour(x0, latent)[0, :, 0, 0], torch.tensor([0.5, 0.25, 0.0]))


def test_quick_steps_send_some_clips_and_always_the_last(preview, server):
    sample(preview, clip(8), steps=50)
    assert 2 <= len(server) < 10
    assert server[-1]["step"] == 50 and server[-1]["node"] == "1:5"


@pytest.mark.parametrize(
    "latent_format",
    [
        SimpleNamespace(latent_rgb_factors=None),
        SimpleNamespace(latent_rgb_factors=[[1, 1, 1]] * 16),
        SimpleNamespace(**vars(PIXELS), latent_rgb_factors_reshape=lambda x: x),
    ],
)
def test_what_has_no_simple_colours_is_left_to_the_host(preview, server, latent_format):
    sample(preview, clip(8), latent_format=latent_format)
    assert server == []


def test_a_picture_that_fails_is_logged_once_and_sampling_goes_on(preview, server, monkeypatch, caplog):
    def full(_):
        raise OSError("no room")

    monkeypatch.setattr(preview, "jpeg", full)
    sample(preview, clip(8), steps=3)
    assert server == [] and len(caplog.records) == 1 and "no room" in caplog.text


WINDOWS = [
    (100, 80, 16, "triangle", False),
    (80, 80, 16, "triangle", False),
    (8, 80, 16, "triangle", False),
    (1, 1, 0, "flat", False),
    (161, 16, 2, "triangle", False),
    (100, 32, 24, "triangle", True),
    (50, 9, 4, "flat", True),
    (25, 10, 5, "flat", False),
    (8192, 4096, 4000, "triangle", False),
    (8192, 4096, 4000, "triangle", True),
]


@pytest.fixture
def drawn(tmp_path):
    """A JavaScript expression over what js/windows.js exports, for each of WINDOWS as `w`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("NO NODE.JS FOUND: the drawn windows were not compared with the engine's.")
    module = tmp_path / "windows.mjs"  # this name says to Node.js what it is
    shutil.copyfile(JS / "windows.js", module)

    def run(expression: str) -> list:
        script = f"""
            import {{ count, outlines, plan }} from {json.dumps(module.as_uri())};
            console.log(JSON.stringify({json.dumps(WINDOWS)}.map((w) => {expression})));
        """
        command = [node, "--input-type=module", "-e", script]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return run


def test_the_drawn_windows_are_those_of_the_sampler(drawn):
    plans = drawn(
        "{ const p = plan(...w); return [p.starts, p.starts.map((_, k) => "
        "Array.from({ length: p.size }, (_, i) => p.share(k, i)))]; }"
    )
    counts = drawn("count(w[0], w[1], w[2], w[4])")
    for (frames, *settings), (starts, shares), count in zip(WINDOWS, plans, counts, strict=True):
        engine = Windows(*settings).parts(frames)
        assert len(starts) == len(engine) == count
        for start, drawn_share, (covered, share) in zip(starts, shares, engine, strict=True):
            assert [(start + i) % frames for i in range(len(drawn_share))] == covered.tolist()
            assert drawn_share == pytest.approx(share.tolist(), abs=1e-6)


def test_an_outline_covers_its_window_and_stays_small(drawn):
    """4096 frames with an overlap of 4000 once were 180,000 points, which threw."""
    for (frames, *settings), lines in zip(WINDOWS, drawn("outlines(w[0], plan(...w))"), strict=True):
        engine = Windows(*settings).parts(frames)
        for runs, (covered, _) in zip(lines, engine, strict=True):
            assert [x for run in runs for x in range(run["first"], run["end"])] == covered.tolist()
            for run in runs:
                steps = re.findall(r"V([\d.]+)H(\d+)", run["path"])
                assert 0 <= min(float(y) for y, _ in steps) and max(float(y) for y, _ in steps) <= 1
                assert int(steps[-1][1]) == run["end"]
        assert sum(run["path"].count("H") for runs in lines for run in runs) <= 4000 + 2 * len(engine)


def test_extensions_bear_the_packs_name():
    """A public checker refuses others."""
    names = {
        path.name: re.findall(r'registerExtension\(\{\s*name: "(.*?)"', path.read_text("utf-8"))
        for path in JS.glob("*.js")
    }
    assert [len(found) for found in names.values()].count(1) == 5
    assert all(name.startswith("lumiere.") for found in names.values() for name in found), names


@pytest.fixture
def sent(monkeypatch):
    """What `show_text` sends to the frontend."""
    texts: list[str] = []
    comfy = SimpleNamespace(model_management=None)
    server = SimpleNamespace(send_progress_text=lambda text, node_id: texts.append(text))
    monkeypatch.setitem(sys.modules, "comfy", comfy)
    monkeypatch.setitem(sys.modules, "comfy.model_management", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "server", SimpleNamespace(PromptServer=SimpleNamespace(instance=server)))
    show_text = module_of("notify").show_text
    return lambda words: (show_text("1", words), texts.pop())[1]


@pytest.mark.parametrize(
    "words",
    [
        '<img src=x onerror="alert(1)"> it\'s & &lt;',
        "[[here|https://example.org]] www.example.org http://a.b <http://a.b>",
        "__LNK0__",
        "prompt: a red balloon\nnegative: größer, \u7a7a, \U0001f388 — 100%",
    ],
)
def test_words_from_graphs_reach_the_frontend_as_text(sent, words):
    """Frontends read progress text as HTML, with `[[words|address]]` and addresses as links."""
    text = sent(words)
    assert html.unescape(text) == words
    assert not re.search(r"<|\[\[|://|www\.|__LNK", text)
    assert text.count("\n") == words.count("\n")


def test_half_a_sign_does_not_stop_a_node(sent):
    """JSON may hold half of an emoji; what is sent has to be text that can be written down."""
    text = sent("\ud83c sea")
    assert text.encode("utf-8").decode("utf-8") == text and text.endswith("sea")


FIELDS = {
    "strokes of all kinds and anchors": [
        {"preset": "flow", "speed": 0.08, "points": [[0.1, 0.9], [0.5, 0.7], [0.9, 0.8]]},
        {"preset": "flow", "points": [[0.3, 0.5], [0.35, 0.95]]},
        {"preset": "ripple", "points": [[0.8, 0.65], [0.9, 0.95]]},
        {"preset": "sway", "points": [[0.6, 0.9], [0.62, 0.6]]},
        {"preset": "flicker", "speed": 1.5, "points": [[0.2, 0.8], [0.2, 0.6]]},
    ],
    "the mask's own shape": [{"preset": "flow", "points": []}],
    "an even motion": [],
}


@pytest.fixture(scope="module")
def scene():
    """A small photo with edges, and a mask with a hole, in the shape of a bent river."""
    width, height = 120, 80
    y, x = np.mgrid[:height, :width].astype(np.float32)
    r = np.random.default_rng(2)
    photo = cv2.GaussianBlur(r.random((height, width, 3), np.float32), (0, 0), 2) * 2 - 0.5
    photo[x > 70] += 0.3
    river = np.abs(y - 55 - 12 * np.sin(x / 20)) < 18
    river &= np.hypot(x - 60, y - 62) > 6
    return photo.clip(0, 1), river.astype(np.float32)


def in_browser(tmp_path, body: str):
    """What a JavaScript module with js/brush_field.js as `field` and js/brush_paint.js as `paint` prints as JSON."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("NO NODE.JS FOUND: the preview of the brush was not compared with the engine.")
    for name in ("brush_field.js", "brush_paint.js"):
        shutil.copyfile(JS / name, tmp_path / name)
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    script = tmp_path / "script.js"
    imports = "import * as field from './brush_field.js';\nimport * as paint from './brush_paint.js';\n"
    script.write_text(imports + body, encoding="utf-8")
    done = subprocess.run([node, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_browser_knows_the_brushs_presets(tmp_path):
    known = in_browser(tmp_path, "console.log(JSON.stringify(field.PRESETS));")
    assert known == {name: dataclasses.asdict(row) for name, row in BRUSH_PRESETS.items()}


@pytest.mark.parametrize("drawn", FIELDS)
def test_the_browsers_field_is_the_engines(tmp_path, scene, drawn):
    photo, moves = (cv2.resize(p, fields.grid_of(120, 80), interpolation=cv2.INTER_AREA) for p in scene)
    document = {"strokes": FIELDS[drawn], "anchors": [[0.5, 0.8], [0.75, 0.7]]}
    drawing = drawing_of(json.dumps(document), 120, 80)
    engine = fields.layers_of(drawing, Stroke("flow"), None, photo, moves, 1.5)
    layers = in_browser(
        tmp_path,
        f"""
        const own = {{ preset: "flow", speed: null, direction: null }};
        const layers = field.layersOf({json.dumps(document)}, own, {json.dumps(photo.ravel().tolist())},
            {json.dumps(moves.ravel().tolist())}, 96, 64, 1.5);
        console.log(JSON.stringify(layers.map((l) =>
            ({{ push: [...l.push], share: [...l.share], front: l.front, speed: l.speed }}))));
        """,
    )
    assert len(layers) == len(engine)
    for ours, theirs in zip(engine, layers, strict=True):
        largest = np.abs(ours.push).max()
        assert largest > 0
        np.testing.assert_allclose(np.reshape(theirs["push"], (64, 96, 2)), ours.push, atol=0.01 * largest)
        np.testing.assert_allclose(np.reshape(theirs["share"], (64, 96)), ours.share, atol=0.01)
        assert theirs["front"] == pytest.approx(ours.front, abs=1e-4)


@pytest.mark.parametrize("drawn", FIELDS)
def test_the_preview_moves_as_the_clip_will(tmp_path, scene, drawn):
    photo, moves = scene
    document = {"strokes": FIELDS[drawn], "anchors": [[0.5, 0.8], [0.75, 0.7]]}
    brush = Brush("flow", drawing=drawing_of(json.dumps(document), 120, 80), motion=1.5)
    frame_at = painter(torch.from_numpy(photo), torch.from_numpy(moves), brush, 5)
    small, mask = (cv2.resize(p, fields.grid_of(120, 80), interpolation=cv2.INTER_AREA) for p in scene)
    rgba = np.concatenate([photo * 255, np.full_like(photo[..., :1], 255)], 2)
    phases = [0.15, 0.4, 0.7]
    frames = in_browser(
        tmp_path,
        f"""
        const moves = {json.dumps(mask.ravel().tolist())};
        const own = {{ preset: "flow", speed: null, direction: null }};
        const layers = field.layersOf({json.dumps(document)}, own, {json.dumps(small.ravel().tolist())}, moves, 96, 64,
            1.5);
        const pixels = Float32Array.from({json.dumps(rgba.ravel().tolist())});
        const pin = paint.pinOf({json.dumps(moves.ravel().tolist())}, 120, 80, 0.03);
        const small = {{ width: 120, height: 80, pixels, pin }};
        const painted = paint.painter(small, layers, {{ width: 96, height: 64, moves }},
            {{ motion: 1.5, seconds: 5, seed: 0, aspect: 1.5 }});
        const out = new Float32Array(pixels.length);
        console.log(JSON.stringify({phases}.map((phase) => (painted(phase, out), [...out]))));
        """,
    )
    for phase, frame in zip(phases, frames, strict=True):
        frame = np.reshape(frame, rgba.shape)[..., :3] / 255
        ours, theirs = frame_at(phase).numpy() - photo, frame - photo
        assert np.abs(theirs[moves == 0]).max() < 1e-6
        alike = float((ours * theirs).sum() / np.sqrt((ours**2).sum() * (theirs**2).sum()))
        assert alike > 0.95, (phase, alike)
