"""The command line: what it makes, and one sentence with exit code 2 for what cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lumiere_core import generate
from lumiere_core.cli import main
from lumiere_core.media.files import read_clip, read_comment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def command(weights_files, tmp_path):
    """`command("--steps", "2")` with tiny weights, into tmp_path / clip.mp4."""
    base, ssr = weights_files
    fixed = ["generate", "--weights", str(base), "--ssr-weights", str(ssr), "--size", "8", "--frames", "5"]
    fixed += ["--steps", "2", "--ssr-steps", "1", "--prompt", "a red balloon"]
    return [*fixed, "--out", str(tmp_path / "clip.mp4")]


def test_a_prompt_becomes_a_clip_its_trace_and_a_description(command, tmp_path, capsys):
    assert main([*command, "--xt-slice", str(tmp_path / "xt.png"), "--seed", "3"]) == 0
    clip, fps = read_clip(tmp_path / "clip.mp4")
    assert clip.shape == (3, 5, 32, 32) and fps == 16
    assert (tmp_path / "xt.png").exists()
    comment = read_comment(tmp_path / "clip.mp4")
    facts = json.loads(comment.removeprefix("AI-generated. "))
    assert facts["prompt"] == "a red balloon" and facts["seed"] == 3 and len(facts["weights"]["ssr"]) == 12
    assert facts["base"]["steps"] == 2 and facts["ssr"]["window"] == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "xt.png"]


def test_without_super_resolution_the_clip_is_small(command, tmp_path):
    assert main([*command, "--no-ssr"]) == 0
    assert read_clip(tmp_path / "clip.mp4")[0].shape == (3, 5, 8, 8)


def test_words_it_does_not_know_are_said(command, capsys):
    assert main([*command, "--no-ssr", "--prompt", "a green dragon"]) == 0
    assert "does not know: green, dragon" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "60"], "60, but this model takes multiples of 8. Try 56 or 64"),
        (["--frames", "0"], "frames is 0"),
        (["--steps", "0"], "steps is 0"),
        (["--cfg", "99"], "cfg is 99"),
        (["--window", "4", "--overlap", "4"], "overlap is 4"),
        (["--sampler", "magic"], "sampler is 'magic'"),
        (["--seed", "-1"], "seed is -1"),
        (["--out", "clip.avi"], "ends in .avi"),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors cannot be read"),
        (["--ssr-steps", "0"], "steps is 0"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(command, options, words, capsys, tmp_path):
    assert main([*command, *options]) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_cut_off_weights_are_one_sentence_too(command, weights_files, tmp_path, capsys):
    (tmp_path / "cut").mkdir()
    cut = tmp_path / "cut" / "cut.safetensors"
    cut.write_bytes(weights_files[0].read_bytes()[:1000])
    assert main([*command, "--weights", str(cut)]) == 2
    assert "cut.safetensors is not a whole safetensors file" in capsys.readouterr().err


def test_ctrl_c_leaves_no_file(command, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(generate, "upscale", interrupted)
    assert main(command) == 130
    assert not list(tmp_path.iterdir())


def test_info_says_what_a_file_is_and_which_words_it_knows(weights_files, capsys):
    assert main(["info", *map(str, weights_files)]) == 0
    said = capsys.readouterr().out
    assert "tiny ssr" in said and "balloon" in said and "M parameters" in said


def test_info_says_what_a_motion_file_is(tmp_path, capsys):
    import torch
    from safetensors.torch import save_file

    from lumiere_core.model.animatediff.network import MotionModules, MotionSpec

    spec = MotionSpec("", "", (32, 64, 64, 64), frames=24)
    tensors = {f"module.{k}": v.half() for k, v in MotionModules(spec).state_dict().items()}
    save_file(tensors, tmp_path / "mm.safetensors")
    assert main(["info", str(tmp_path / "mm.safetensors")]) == 0
    said = capsys.readouterr().out
    assert "AnimateDiff v1: a motion file for SD1.5" in said and "F16" in said
    assert "20 places; reads 24 frames at most, 16 suit it best" in said and "Apache-2.0" in said
    torch.save({}, tmp_path / "mm.ckpt")
    assert main(["info", str(tmp_path / "mm.ckpt")]) == 2
    assert "is a pickle" in capsys.readouterr().err


def test_info_says_what_an_image_model_s_checkpoint_is(tmp_path, capsys):
    from safetensors.torch import save_file

    from lumiere_core.config import UNetSpec
    from lumiere_core.model.unet import UNet

    small = {"channels": (32, 64), "blocks": (1, 1), "attention": (1, 0), "middle": 1, "heads": 8, "patch": 1}
    spec = UNetSpec(
        **small,
        attention_kind="cross",
        res_kind="add",
        in_channels=9,
        out_channels=4,
        groups=32,
        pooled_text=False,
    )
    tensors = {f"model.diffusion_model.{k}": v.half() for k, v in UNet(spec).state_dict().items()}
    save_file(tensors, tmp_path / "sd.safetensors")
    assert main(["info", str(tmp_path / "sd.safetensors")]) == 0
    said = capsys.readouterr().out
    assert "SD1.5: an image model's U-Net" in said and "9 channels in, 4 out" in said and "F16" in said
    assert "prompts of 128 channels" in said and "predicts eps" in said and "OpenRAIL-M" in said
    del tensors["model.diffusion_model.out.2.bias"]
    save_file(tensors, tmp_path / "sd.safetensors")
    assert main(["info", str(tmp_path / "sd.safetensors")]) == 2
    assert "lacks 1 of its" in capsys.readouterr().err


def test_the_module_runs_and_its_exit_code_reaches_the_shell():
    run = subprocess.run(
        [sys.executable, "-m", "lumiere_core", "info", "nothing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.strip().count("\n") == 0 and "nothing" in run.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--overlap", "6"], "overlap is 6 frames, but it has to be from 0 to 5"),  # of super-resolution's 6
        (["--fps", "0"], "fps is 0"),
        (["--ssr-weights", "gone.safetensors"], "gone.safetensors cannot be read"),
    ],
)
def test_what_super_resolution_or_the_file_would_refuse_is_refused_before_the_work(
    command, options, words, capsys
):
    assert main([*command, *options]) == 2
    said = capsys.readouterr().err
    assert words in said and "base [" not in said


@pytest.mark.parametrize("option", ["--out", "--xt-slice"])
def test_a_place_that_cannot_be_written_is_said_before_the_work(command, option, tmp_path, capsys):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    name = {"--out": "clip.mp4", "--xt-slice": "slice.png"}[option]
    assert main([*command, option, str(tmp_path / "file" / name)]) == 2
    said = capsys.readouterr().err
    assert "cannot be written" in said and "base [" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_neither_output_costs_a_weights_file_or_the_other_output(command, tmp_path, capsys):
    weights, out = Path(command[2]), tmp_path / "slice.png"
    os.link(weights, tmp_path / "slice.png")
    before = weights.read_bytes()
    for more in ([], ["--overwrite"]):
        assert main([*command, "--xt-slice", str(out), *more]) == 2
        assert "slice.png is read, or written, by the same command" in capsys.readouterr().err
    assert main([*command, "--xt-slice", str(tmp_path / "clip.mp4")]) == 2
    assert weights.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["slice.png"]


def test_a_second_clip_and_slice_take_numbers(command, tmp_path, capsys):
    for _ in range(2):
        assert main([*command, "--no-ssr", "--xt-slice", str(tmp_path / "xt.png")]) == 0
    said = capsys.readouterr().out
    assert f"wrote {tmp_path / 'clip_00001_.mp4'}: 5 frames" in said
    assert f"wrote {tmp_path / 'xt_00001_.png'}: the middle row" in said
    assert len(list(tmp_path.iterdir())) == 4


def test_the_two_models_are_not_mixed_up(command, weights_files, capsys):
    assert main([*command, "--weights", str(weights_files[1])]) == 2
    assert "tiny-ssr is a ssr model" in capsys.readouterr().err
    assert main([*command, "--ssr-weights", str(weights_files[0])]) == 2
    assert "tiny is a base model" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_ctrl_c_in_a_terminal_stops_the_work_and_leaves_nothing(command, tmp_path):
    line = [sys.executable, "-m", "lumiere_core", *command, "--steps", "1000", "--frames", "400"]  # a minute
    listening = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  (a job in the background is deaf)
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=listening) as run:
        try:
            assert "a red balloon" in run.stderr.readline()  # it says what it makes, and begins
            run.send_signal(signal.SIGINT)
            said = run.stderr.read()
            assert run.wait(60) == 130
        finally:
            run.kill()
    assert "stopped" in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_loop_is_another_clip_and_says_so(command, tmp_path):
    assert main([*command, "--no-ssr"]) == 0
    straight, _ = read_clip(tmp_path / "clip.mp4")
    assert main([*command, "--no-ssr", "--loop", "--overwrite"]) == 0
    closed, _ = read_clip(tmp_path / "clip.mp4")
    assert not straight.equal(closed)
    assert (
        json.loads(read_comment(tmp_path / "clip.mp4").removeprefix("AI-generated. "))["base"]["loop"] is True
    )


def test_the_self_test_names_the_machine_and_makes_a_clip(capsys):
    assert main(["info", "--self-test"]) == 0
    said = capsys.readouterr().out
    for words in (
        "lumiere 0.",
        "device  ",
        "torch 2",
        "weights lumiere-mini-base.safetensors",
        "sha256",
        "sound: it makes",
    ):
        assert words in said
    assert "(16, 64, 64, 3)" in said and "(16, 256, 256, 3)" in said
