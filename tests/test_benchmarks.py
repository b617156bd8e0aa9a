"""The benchmark runs from end to end, at sizes that tell nothing about speed; what it claims to be equal is equal."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from benchmarks import enlarging, fusing, pictures, styles
from benchmarks import stunet as bench
from lumiere_core.config import PRESETS
from lumiere_core.model.checkpoint import Lumiere
from lumiere_core.model.functional import frames_as_batch, normalise
from lumiere_core.model.style import LowRank, save_style
from lumiere_core.train.gauge import bicubic, travelling
from lumiere_core.train.probe import load_probe
from lumiere_core.train.world.scenes import WORLDS, held_out_list


@pytest.fixture(scope="module")
def small(tiny_spec, ssr_spec) -> bench.Sizes:
    base = dataclasses.replace(tiny_spec, num_frames=4, size=8)
    windows = dataclasses.replace(ssr_spec, window=4)
    return bench.Sizes(base, base, windows, (bench.Block(16, 4, 1.6, 3.0),), gemm=32, long=40, large=base)


@pytest.mark.parametrize("name", ["P1", "P2", "P3", "P4", "P5", "P6"])
def test_every_cost_is_a_positive_number_beside_its_goal(small, name):
    with torch.inference_mode():
        rows = list(bench.GOALS[name](small, 1))
    assert any(row.holds is not None for row in rows)
    for row in rows:
        number = float(row.measured.split()[0].strip(",%x"))
        assert row.goal == name and number >= 0 and math.isfinite(number)
        assert (row.holds is None) == (row.limit == "")


def test_the_usual_way_of_writing_the_block_gives_the_same_frames():
    frames, x, emb, inflation = bench.block_inputs(bench.Block(16, 4, 1.6, 3.0))
    x, emb, inflation = x.float(), emb.float(), inflation.float()
    known = inflation(x, emb, frames)
    torch.testing.assert_close(
        bench.by_conv1d(inflation, x.contiguous(), emb, frames), known, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(("groups", "size"), [(4, 3), (4, 32), (1, 3)])  # turned, too large, wide enough
def test_a_norm_that_is_turned_for_speed_gives_the_same_frames(groups, size):
    norm = torch.nn.GroupNorm(groups, 32)
    x = torch.randn(3, 32, size, size).to(torch.bfloat16, memory_format=torch.channels_last)
    y = normalise(norm.bfloat16(), x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y.float(), norm.float()(x.float()), atol=2e-2, rtol=2e-2)


def test_operations_are_those_counted_by_hand():
    conv, x = torch.nn.Conv2d(3, 5, 3, padding=1), torch.randn(2, 3, 4, 4)
    assert bench.flops(lambda: conv(x)) == 2 * (2 * 4 * 4) * 5 * 3 * 9
    q = torch.randn(1, 2, 6, 8)
    with torch.inference_mode():
        counted = bench.flops(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q))
    assert counted == 2 * (2 * 2 * 6 * 6 * 8)


def test_the_image_model_beside_it_sees_every_frame(small):
    given = bench.inputs(small.network, torch.float32)
    assert frames_as_batch(given["x"]).shape[0] == small.network.num_frames
    assert bench.frame_by_frame(small.network, torch.float32)().shape == (4, 3, 8, 8)


def test_live_bytes_are_those_of_tensors_still_held():
    with bench.LiveBytes("meta") as count:
        kept = torch.zeros(100, device="meta")
        view = kept[:50]
        for _ in range(3):
            torch.zeros(200, device="meta")
        torch.zeros(1000)  # elsewhere
    assert count.peak == 4 * (100 + 200) and view.numel() == 50


def test_a_clip_ten_times_as_long_takes_no_more_of_the_device_and_a_longer_window_does(small):
    with torch.inference_mode():
        (row,) = bench.p7(small, 1)
        twice = dataclasses.replace(small.windows, window=12)
        assert bench.device_bytes(twice, 12) > 1.2 * bench.device_bytes(small.windows, 12)
    assert row.holds, row


def test_streamed_and_shared_by_two_processes_a_clip_stays_the_same(small):
    with torch.inference_mode():
        rows = list(bench.p8(small, 1))
    assert len(rows) == 2
    assert all(row.holds for row in rows), rows


def test_the_sizes_measured_are_those_of_the_bundled_models():
    assert bench.FULL.preset is PRESETS["mini-cpu"] and bench.FULL.windows is PRESETS["mini-ssr"]


def going(shift: int, frames: int = 4) -> torch.Tensor:
    """A clip of soft dots that goes right by so many pixels a frame. `(1, 3, T, 64, 64)` in [-1, 1]"""
    dots = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    picture = torch.nn.functional.interpolate(dots, scale_factor=4.0, mode="bicubic").clamp(-1, 1)
    return torch.stack([picture.roll(shift * i, -1) for i in range(frames)], dim=2)


def test_similarity_is_one_for_the_same_clip_and_falls_with_noise():
    clip = going(2)
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(1))
    values = [enlarging.ssim(clip, clip + amount * noise) for amount in (0.0, 0.05, 0.3)]
    assert values[0] == pytest.approx(1, abs=1e-6) and values[0] > values[1] > values[2]


def test_what_moves_has_no_warping_error_and_what_boils_has():
    clip = going(2)
    boiling = clip + 0.1 * torch.randn(clip.shape, generator=torch.Generator().manual_seed(1))
    assert enlarging.warping_error(clip, clip) < 0.3 * enlarging.change(clip) / 2  # in [0, 1], not [-1, 1]
    assert enlarging.warping_error(boiling, clip) > 5 * enlarging.warping_error(clip, clip)


def test_a_warping_error_is_a_number_where_the_flow_holds_nowhere_and_where_nothing_moves(monkeypatch):
    clip = going(2)
    monkeypatch.setattr(enlarging, "AGREE", 0.0)
    assert enlarging.warping_error(clip, clip) > 0
    monkeypatch.undo()
    still = clip[:, :, :1].expand(-1, -1, 3, -1, -1)
    assert enlarging.warping_error(still, still) == pytest.approx(0, abs=1e-6)


def test_the_ways_to_enlarge_stand_beside_the_true_clip():
    scenes = travelling(WORLDS["small"], held_out_list("small"), 1)
    ways = {
        "bicubic": lambda clip, caption: bicubic(clip, 4),
        "worse": lambda clip, caption: bicubic(clip, 4) + 0.1 * torch.randn(1, 3, 3, 64, 64),
    }
    rows = enlarging.on_renders(ways, scenes, 3, 64, 4)
    smooth, worse = (rows[name][0] for name in ways)
    assert smooth[0] > worse[0] and smooth[1] > worse[1]  # PSNR and SSIM
    assert smooth[2] < worse[2] and smooth[3] < worse[3]  # frame difference and warping error


def test_styles_are_measured_from_alpha_to_alpha(tmp_path, monkeypatch, tiny_spec, randomise):
    small = dataclasses.replace(tiny_spec, size=16, num_frames=4)
    model = randomise(Lumiere(small))
    name = next(k for k, w in model.network.state_dict().items() if k == "out.2.weight")
    shape = model.network.state_dict()[name].shape
    change = LowRank(torch.ones(shape[0], 1, 1, 1), torch.ones(1, *shape[1:]))
    file = save_style(
        tmp_path / "glowing.safetensors", {name: change}, license="", trained_on="", made_for="tiny"
    )
    monkeypatch.setattr(styles, "bundled_styles", lambda: {"glowing": file})
    scenes = styles.prompts(5)
    assert len({scene.subject for scene in scenes}) == 5
    assert all(scene.combination in held_out_list("small") for scene in scenes)
    found = list(styles.rows(model, load_probe(), ["glowing"], [0.0, 1.0], scenes[:2], 1, 4, 1))
    assert [row.alpha for row in found] == [0, 1] and found[0].motion == 1
    assert found[0].distance != found[1].distance and 0 <= found[0].subject <= 1
    text = styles.table(found)
    assert (
        text.splitlines()[0] == "| style | figure | alpha 0 | alpha 1 |" and "| glowing | distance |" in text
    )
    styles.write_sheets(tmp_path, found, 16)
    styles.write_figure(tmp_path / "all.png", found, 16)
    assert (tmp_path / "glowing.png").is_file() and (tmp_path / "all.png").is_file()


def test_each_task_is_measured_from_files_to_files(tmp_path, weights_files):
    rows = {}
    for task in (*pictures.GIVE, "edit"):
        setting = pictures.Setting(weights_files[0], 16, 20, 1, 1.0, tmp_path)
        mine = pictures.measured([task], 1, [0.4], setting, tmp_path)
        rows |= {(row.task, row.what): row for row in mine}
    named = {what: row for (_, what), row in rows.items()}
    assert len(rows) > 20 and all(math.isfinite(row.made) for row in rows.values())
    assert all(rows[task, "known pixels: largest difference, of 255"].made == 0 for task in pictures.GIVE)
    assert named["frame difference outside"].holds and named["seam score at frame 8"].holds is not None
    assert (tmp_path / "cinemagraph.png").is_file() and (tmp_path / "edit-0.4.png").is_file()
    text = pictures.table(list(rows.values()), markdown=True)
    assert text.startswith("| task | what | made | real | clips | goal | holds |\n| --- |")


def test_a_clip_put_in_with_a_step_has_a_gradient_and_a_still_has_no_motion():
    clip, known = going(1)[0], torch.ones(4, 64, 64)
    known[:, 20:40, 20:40] = 0
    stepped = clip + 0.5 * (1 - known)
    real, made = pictures.across(clip, known), pictures.across(stepped, known)
    assert made[0] > 2 * real[0] and made[1:] == pytest.approx(real[1:], abs=1e-5)
    assert pictures.moving(clip[:, :1].expand(-1, 4, -1, -1), known[0]) == 0 < pictures.moving(clip, known[0])
    jump = torch.cat([clip[:, :2], clip[:, 2:] + 0.5], dim=1)
    assert pictures.seam(jump, 2) > 2 > pictures.seam(clip, 2)


def test_what_is_asked_for_was_left_out_of_training_and_moves_as_the_task_needs():
    going, staying = pictures.travellers(12), pictures.stayers(6)
    assert all(scene.combination in held_out_list("small") for scene in (*going, *staying))
    assert all(scene.direction != (0, 0) for scene in going)
    assert {scene.motion.split()[0] for scene in staying} == {"turning", "burning", "rocking"}
    assert len({(scene.subject, scene.motion) for scene in going}) >= 8


def test_a_clip_whose_windows_differ_has_a_seam_beside_the_true_one():
    true = torch.rand(3, 12, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    assert fusing.scores(true, true, [4, 8]) == (1, 1)
    torn = true.clone()
    torn[:, 4:8] += 0.5
    seam, degree = fusing.scores(torn, true, [4, 8])
    assert seam > 5 and degree > 1.5
