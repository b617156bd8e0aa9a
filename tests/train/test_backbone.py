"""Temporal layers over a frozen image model: clips of one's own, what is learnt, and the file that comes of it.

ComfyUI's part is played by `stub_host.py`; `tests/host/test_backbone.py` has the real one.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lumiere_core.cli import main
from lumiere_core.config import TemporalSpec, UNetSpec
from lumiere_core.media.files import write_clip
from lumiere_core.model.animatediff.network import BETAS, MotionModules, MotionSpec, sigmas_of
from lumiere_core.model.backbones.families import FULL, open_unet
from lumiere_core.model.backbones.trained import (
    TRAINED_FILE,
    TrainedSpec,
    is_trained,
    read_trained,
    save_trained,
)
from lumiere_core.model.container import to_contents
from lumiere_core.model.stunet import new_temporal
from lumiere_core.model.unet import UNet
from lumiere_core.train.backbone import encoding
from lumiere_core.train.backbone import trainer as room
from lumiere_core.train.backbone.clips import Shape, Stretch, held_apart, read_folder
from lumiere_core.train.backbone.encoding import Cache, Encoded, EncodedClip, Host, Silence, endless
from lumiere_core.train.backbone.trainer import (
    BackboneTrainer,
    beginning,
    forgetful,
    noised_loss,
    one_context,
    over_frozen,
    with_noise,
)
from lumiere_core.train.world.scenes import Scene, render

STUB = [sys.executable, str(Path(__file__).with_name("stub_host.py")), "."]
IMAGE = UNetSpec(  # SD1.5, two levels of 32 channels
    channels=(32, 32),
    blocks=(1, 1),
    attention=(1, 1),
    attention_kind="cross",
    in_channels=4,
    out_channels=4,
    patch=1,
    embed_width=32,
    context_dim=48,
    head_dim=64,
    groups=32,
    res_kind="add",
    heads=8,
    middle=1,
    pooled_text=False,
    time_scale=1.0,
)
SHAPE = Shape(4, 4.0, 64)
N = 2


@pytest.fixture(scope="module")
def backbone(tmp_path_factory, randomise: Callable) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "painter.safetensors"
    tensors = {f"{FULL}{name}": t.contiguous() for name, t in randomise(UNet(IMAGE)).state_dict().items()}
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three clips of 8 frames at 4 fps, a subject in each that goes somewhere."""
    found = tmp_path_factory.mktemp("clips")
    for name, motion in (("boat", "sailing left"), ("fish", "swimming right"), ("balloon", "rising")):
        scene = Scene(name, "red", motion, "underwater" if name == "fish" else "sea", "by day", seed=3)
        write_clip(found / f"{name}.mp4", render([scene], 8, 64, 64, 4.0)[0] * 2 - 1, 4)
        (found / f"{name}.txt").write_text(scene.caption + "\n", encoding="utf-8")
    return found


@pytest.fixture(autouse=True)
def stub(monkeypatch) -> None:
    monkeypatch.setattr(encoding, "host_of", lambda named: STUB)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory, backbone: Path, folder: Path) -> Encoded:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "host_of", lambda named: STUB)
        cache = Cache(tmp_path_factory.mktemp("cache"), backbone, "0" * 12, None)
        return Encoded.of(read_folder(folder, SHAPE), cache, SHAPE.size)


def trainer_on(folder: Path, backbone: Path, encoded: Encoded, source: Path | None = None, **more):
    file = open_unet(backbone)
    start = beginning(file, SHAPE, source)
    torch.manual_seed(0)
    network = over_frozen(file.load(), start, "cpu")
    return BackboneTrainer(network, start.spec, "painter 0", encoded, folder, **{"minutes": 1.0, **more})


# ------------------------------------------------------------------------------------------------------------ clips
def test_a_clip_is_learnt_from_in_whole_stretches_at_the_rate_that_is_asked_for(folder: Path) -> None:
    clips = read_folder(folder, Shape(2, 2.0, 32))
    assert [clip[0].path.name for clip in clips] == ["balloon.mp4", "boat.mp4", "fish.mp4"]
    assert [part.shown for part in clips[0]] == [(0, 2), (4, 6)]  # every second frame of 8, two at a time
    assert clips[2][0].caption == "a red fish swimming right underwater by day"
    assert clips[0][0].pixels().shape == (2, 32, 32, 3)
    first, second = (part.pixels().float() for part in clips[0])
    assert (first[1] - first[0]).abs().mean() > 0.1 and (second[0] - first[0]).abs().mean() > 0.1


def test_frames_are_the_files_own_in_their_middle_squares(tmp_path: Path) -> None:
    clip = torch.full((3, 4, 32, 64), -1.0)
    for t in range(4):
        clip[:, t, :, 16:48] = -0.5 + 0.25 * t
    write_clip(tmp_path / "bar.mp4", clip, 4)
    pixels = Stretch(tmp_path / "bar.mp4", "", (1, 3), 32).pixels()
    assert pixels.dtype == torch.uint8
    want = torch.tensor([(-0.25 + 1) * 127.5, (0.25 + 1) * 127.5])
    torch.testing.assert_close(pixels[:, 4:-4, 4:-4].float().mean((1, 2, 3)), want, atol=3, rtol=0)


@pytest.mark.parametrize(("count", "apart"), [(1, set()), (2, {1}), (3, {2}), (10, {9}), (25, {9, 19})])
def test_one_clip_in_ten_is_held_out(count: int, apart: set[int]) -> None:
    assert held_apart([[]] * count) == apart


# --------------------------------------------------------------------------------------------------------- encoding
def test_clips_and_captions_are_encoded_once(
    backbone: Path, folder: Path, tmp_path: Path, monkeypatch
) -> None:
    cache = Cache(tmp_path, backbone, "0" * 12, None)
    clips = read_folder(folder, SHAPE)
    seen = []
    found = Encoded.of(clips, cache, 64, lambda done, total, what: seen.append((done, total)))
    assert seen[-1] == (7, 7) and len(found.learnt) == 4 and len(found.unseen) == 2
    assert found.silence.prediction == "eps" and found.silence.sigmas.shape == (1000,)
    sample = encoding.read_encoded(found.learnt[0])
    assert sample.latents.shape == (4, 4, 8, 8) and sample.context.shape[1] == 48
    blue = clips[0][0].pixels()[0, :8, :8].float().mean((0, 1)) / 127.5 - 1  # the stub's own arithmetic
    torch.testing.assert_close(sample.latents[0, :3, 0, 0], blue, atol=1e-5, rtol=0)

    monkeypatch.setattr(encoding, "host_of", lambda named: pytest.fail("all of it is there"))
    again = Encoded.of(clips, cache, 64)
    assert again.learnt == found.learnt
    found.learnt[0].write_bytes(found.learnt[0].read_bytes()[:-9])  # a copy that was cut off
    monkeypatch.setattr(encoding, "host_of", lambda named: STUB)
    Encoded.of(clips, cache, 64)
    assert torch.equal(encoding.read_encoded(found.learnt[0]).latents, sample.latents)


def test_another_caption_clip_or_checkpoint_is_encoded_anew(folder: Path, tmp_path: Path) -> None:
    part = read_folder(folder, SHAPE)[0][0]
    cache, other = (Cache(tmp_path, tmp_path / "x", digits, None) for digits in ("1", "2"))
    files = {
        cache.file_of(part, 64),
        cache.file_of(replace(part, caption="other"), 64),
        cache.file_of(replace(part, shown=(0, 1)), 64),
        cache.file_of(part, 128),
        cache.file_of(None, 64),
        other.file_of(part, 64),
    }
    assert len(files) == 6
    os.utime(part.path, (1, 1))
    assert cache.file_of(part, 64) not in files


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "ComfyUI cannot use none.safetensors: it has no text encoder."),
        ("gone", "ended before it had read gone.safetensors: ImportError: no torchaudio. Start that ComfyUI"),
    ],
)
def test_what_comfyui_says_is_passed_on_in_a_sentence(name: str, words: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "clips", tmp_path / f"{name}.safetensors", "0", None)
    with pytest.raises(ValueError, match=words) as caught:
        Encoded.of([], cache, 64)
    assert "\n" not in str(caught.value) and not list((tmp_path / "clips").iterdir())


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="COMFYUI_PYTHON"):
        Host([str(tmp_path / "python")], tmp_path / "x")


def test_samples_come_without_an_end_and_each_as_often(encoded: Encoded) -> None:
    stream = endless(encoded.learnt, 0)
    first = [next(stream).latents.sum().item() for _ in range(8)]
    assert sorted(first[:4]) == sorted(first[4:]) and len(set(first)) == 4


# ------------------------------------------------------------------------------------------------------------- loss
def test_the_loss_is_that_of_the_noise_and_of_v_by_hand() -> None:
    x0, noise = torch.randn(2, 4, 3, 8, 8), torch.randn(2, 4, 3, 8, 8)
    batch = [EncodedClip(x.transpose(0, 1), torch.zeros(7, 48)) for x in x0]
    sigmas, steps = torch.tensor([0.5, 2.0]), torch.tensor([1, 0])
    alpha = torch.tensor([0.2**0.5, 0.8**0.5]).view(
        2, 1, 1, 1, 1
    )  # of sigma 2 and 0.5: 1 / sqrt(1 + sigma^2)
    beta = (1 - alpha**2).sqrt()
    told = []

    def network(x: Tensor, t: Tensor, context: Tensor, label: Tensor | None) -> Tensor:
        told.append((x, t, context.shape, label))
        return torch.zeros_like(x)

    eps = noised_loss(network, batch, sigmas, steps, noise, "eps")
    torch.testing.assert_close(eps, noise.square().mean((1, 2, 3, 4)))
    v = noised_loss(network, batch, sigmas, steps, noise, "v")
    torch.testing.assert_close(v, (alpha * noise - beta * x0).square().mean((1, 2, 3, 4)))
    torch.testing.assert_close(told[0][0], alpha * x0 + beta * noise)
    assert told[0][1].tolist() == [1, 0] and told[0][2] == (2, 7, 48) and told[0][3] is None


def test_prompts_of_several_lengths_are_repeated_as_the_host_does(randomise) -> None:
    long, short = torch.randn(6, 48), torch.randn(4, 48)
    both = one_context([long, short])
    assert both.shape == (2, 12, 48)
    unet, x, t = randomise(UNet(IMAGE)), torch.randn(1, 4, 8, 8), torch.tensor([500.0])
    torch.testing.assert_close(unet(x, t, both[1:]), unet(x, t, short[None]), atol=1e-5, rtol=1e-4)


def test_layers_that_forget_give_the_same_gradient_and_hold_less(backbone: Path) -> None:
    file = open_unet(backbone)
    found = {}
    for forget in (False, True):
        torch.manual_seed(0)
        network = over_frozen(file.load(), beginning(file, SHAPE, None), "cpu")
        for p in network.temporal.parameters():
            p.data += 0.05
        if forget:
            forgetful(network)
        held: dict[int, int] = {}
        own = {p.untyped_storage().data_ptr() for p in network.parameters()}

        def hold(t: Tensor, held=held, own=own) -> Tensor:
            if t.untyped_storage().data_ptr() not in own:
                held[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        generator = torch.Generator().manual_seed(1)
        x = torch.randn(1, 4, 4, 16, 16, generator=generator)
        with torch.autograd.graph.saved_tensors_hooks(hold, lambda t: t):
            made = network(x, torch.tensor([400.0]), torch.randn(1, 7, 48, generator=generator))
        made.square().mean().backward()
        found[forget] = sum(held.values()), {n: p.grad for n, p in network.named_parameters()}
    (plain, want), (little, got) = found[False], found[True]
    assert little < plain / 3
    for name, gradient in want.items():
        assert (gradient is None) == (not name.startswith("temporal.")), name
        if gradient is not None:
            torch.testing.assert_close(got[name], gradient, atol=1e-6, rtol=1e-4)


# -------------------------------------------------------------------------------------------------------------- run
def steps_of(trainer: BackboneTrainer, count: int) -> None:
    for _ in range(count):
        trainer.losses.append(trainer.train_step())


def test_only_time_is_learnt_and_clips_never_trained_on_are_told_better(
    tmp_path: Path, backbone: Path, encoded: Encoded, monkeypatch
) -> None:
    monkeypatch.setattr(room, "LR", 2e-3)
    trainer = trainer_on(tmp_path, backbone, encoded, batch=2)
    image = {n: p.clone() for n, p in trainer.network.named_parameters() if not n.startswith("temporal.")}
    assert set(trainer.names) == {n for n, _ in trainer.network.named_parameters()} - set(image)
    before = trainer.measured()["unseen"]
    steps_of(trainer, 60)
    after = trainer.measured()["unseen"]
    assert list(before) == ["at 0.05", "at 0.25", "at 0.5", "at 0.75", "at 0.95"]
    assert sum(after.values()) < 0.9 * sum(before.values())
    for name, p in trainer.network.named_parameters():
        if name in image:
            assert torch.equal(p, image[name]), name


def test_a_run_goes_on_where_it_was_stopped_and_not_over_another_checkpoint(
    tmp_path: Path, backbone: Path, encoded: Encoded
) -> None:
    trainer = trainer_on(tmp_path, backbone, encoded)
    steps_of(trainer, 3)
    trainer.save()
    assert not any("input_blocks.0.0" in n and "temporal" not in n for n in states(tmp_path))
    again = trainer_on(tmp_path, backbone, encoded)
    assert again.step == 3
    for mine, theirs in zip(again.trained, trainer.trained, strict=True):
        assert torch.equal(mine, theirs)
    file = open_unet(backbone)
    start = beginning(file, replace(SHAPE, frames=8), None)
    with pytest.raises(ValueError, match="cannot go on with other settings"):
        BackboneTrainer(
            over_frozen(file.load(), start, "cpu"), start.spec, "painter 0", encoded, tmp_path, 1.0
        )
    start = beginning(file, SHAPE, None)
    with pytest.raises(ValueError, match="cannot go on with sketcher 1: it was begun over painter 0"):
        BackboneTrainer(
            over_frozen(file.load(), start, "cpu"), start.spec, "sketcher 1", encoded, tmp_path, 1.0
        )


def states(folder: Path) -> set[str]:
    return {name for path in folder.glob("state-*.safetensors") for name in load_file(path)}


def test_a_caption_is_left_out_now_and_then(tmp_path: Path, backbone: Path, encoded: Encoded) -> None:
    trainer = trainer_on(tmp_path, backbone, encoded)
    sample = encoding.read_encoded(encoded.learnt[0])
    told = [trainer.captioned(sample).context for _ in range(400)]
    silent = sum(rows is encoded.silence.context for rows in told)
    assert 20 < silent < 64  # a tenth of 400


def test_a_v_checkpoint_and_a_label_and_half_precision_train(
    tmp_path: Path, backbone: Path, randomise
) -> None:
    spec = replace(IMAGE, channels=(64, 64), attention_kind="cross linear", heads=0)
    spec = replace(spec, label_kind="vector", label_size=16)
    path = tmp_path / "xl.safetensors"
    save_file({n: t.contiguous() for n, t in randomise(UNet(spec)).state_dict().items()}, path)
    file = open_unet(path)
    start = beginning(file, SHAPE, None)
    assert start.spec.base == "SDXL"
    network = over_frozen(file.load(torch.bfloat16), start, "cpu")
    forgetful(network)
    sample = EncodedClip(torch.randn(4, 4, 8, 8), torch.randn(7, 48), torch.randn(16))
    silence = Silence(torch.randn(7, 48), torch.randn(16), torch.linspace(0.03, 14, 1000), "v")
    save_file(
        {"latents": sample.latents, "context": sample.context, "label": sample.label}, tmp_path / "a.st"
    )
    held = Encoded([tmp_path / "a.st"], [sample], silence)
    trainer = BackboneTrainer(network, start.spec, "xl 0", held, tmp_path / "run", 1.0, batch=2)
    steps_of(trainer, 2)
    assert all(value == value for value in trainer.losses) and trainer.measured()["unseen"]["at 0.5"] > 0
    assert {p.dtype for p in trainer.trained} == {torch.float32}


def test_the_x4_upscaler_is_shown_the_small_clip_with_one_draw_of_noise(
    tmp_path: Path, folder: Path, randomise
) -> None:
    spec = replace(IMAGE, attention_kind="cross linear", in_channels=7, label_kind="class", label_size=1000)
    path = written(tmp_path / "x4.safetensors", randomise(UNet(spec)))
    cache = Cache(tmp_path / "clips", path, "0", None)
    encoded = Encoded.of(read_folder(folder, SHAPE), cache, 64)
    clip = encoded.unseen[0]
    assert clip.latents.shape == (4, 4, 16, 16) and clip.small.shape == (4, 3, 16, 16)
    still = replace(clip, small=clip.small[:1].expand(4, -1, -1, -1))
    noisy = with_noise(still, torch.tensor(300), torch.randn(3, 16, 16))
    assert noisy.label == 300 and torch.equal(noisy.small[0], noisy.small[3])
    betas = [(0.01 + i * (0.02**0.5 - 0.01) / 999) ** 2 for i in range(301)]  # by hand
    kept = math.prod(1 - beta for beta in betas)
    want = noisy.small[0] - kept**0.5 * clip.small[0]
    assert want.std() == pytest.approx((1 - kept) ** 0.5, rel=0.1)

    trainer = trainer_on(tmp_path / "run", path, encoded, batch=2)
    assert trainer.spec.base == "the SD x4 upscaler"
    levels = [int(trainer.shown(clip).label) for _ in range(200)]
    assert min(levels) < 30 and 320 < max(levels) < 350
    before = trainer.measured()["unseen"]
    steps_of(trainer, 3)
    assert trainer.measured()["unseen"] != before


# ------------------------------------------------------------------------------------------------------------- file
def test_the_file_says_what_it_is_for_and_begins_by_changing_nothing(
    tmp_path: Path, backbone: Path, encoded: Encoded, capsys
) -> None:
    trainer = trainer_on(tmp_path, backbone, encoded)
    path = tmp_path / "mine.safetensors"
    trainer.write(path, "CC0", "three clips")
    assert is_trained(path) and not is_trained(backbone) and not is_trained(tmp_path / "nothing")
    found = read_trained(path)
    assert (found.license, found.trained_on) == ("CC0", "three clips")
    assert found.spec == TrainedSpec(
        "SD1.5", (32, 32), (1, 1), 32, 48, TemporalSpec((2,), condition_channels=0), "", 4, 4.0
    )
    file = open_unet(backbone)
    unet = file.load()
    begun = room.Beginning(found.spec, {name: t.float() for name, t in found.tensors.items()})
    video = over_frozen(file.load(), begun, "cpu")
    x, t, text = torch.randn(1, 4, 5, 8, 8), torch.tensor([300.0]), torch.randn(1, 7, 48)
    with torch.no_grad():
        made = video(x, t, text)
        for frame in range(0, 5, N):
            torch.testing.assert_close(made[:, :, frame], unet(x[:, :, frame], t, text), atol=1e-5, rtol=1e-4)
    assert main(["info", str(path)]) == 0
    said = capsys.readouterr().out
    assert "temporal layers for SD1.5 (levels of 32, 32 channels, prompts of 48)" in said
    assert "three clips, 4 frames at 4 fps; licence: CC0" in said


def test_a_file_that_was_trained_goes_on_and_another_base_is_refused_with_both_named(
    tmp_path: Path, backbone: Path, encoded: Encoded
) -> None:
    trainer = trainer_on(tmp_path / "run", backbone, encoded)
    steps_of(trainer, 2)
    trainer.write(tmp_path / "mine.safetensors", "", "")
    again = trainer_on(tmp_path / "new", backbone, encoded, source=tmp_path / "mine.safetensors")
    ema = dict(zip(trainer.names, trainer.ema, strict=True))
    for name, p in zip(again.names, again.trained, strict=True):
        torch.testing.assert_close(p, ema[name], atol=1e-3, rtol=1e-3)  # in half precision
    spec = replace(trainer.spec, base="SDXL", context_dim=64)
    other = tmp_path / "xl.safetensors"
    unet = replace(IMAGE, context_dim=64)
    save_trained(other, spec, new_temporal(unet, spec.temporal), license="", trained_on="")
    with pytest.raises(ValueError) as caught:
        beginning(open_unet(backbone), SHAPE, other)
    assert "for SDXL (levels of 32, 32 channels, prompts of 64)" in str(caught.value)
    assert "the backbone is SD1.5 (levels of 32, 32 channels, prompts of 48)" in str(caught.value)


FOUR = replace(IMAGE, channels=(32, 64, 64, 64), blocks=(2,) * 4, attention=(1, 1, 1, 0))
MOTION = MotionSpec("", "", (32, 64, 64, 64), frames=32)


def written(path: Path, module: torch.nn.Module) -> Path:
    save_file({name: t.clone().contiguous() for name, t in module.state_dict().items()}, path)
    return path


def test_a_motion_file_is_where_training_begins_with_its_own_noise_levels(
    tmp_path: Path, encoded: Encoded, randomise
) -> None:
    path = written(tmp_path / "four.safetensors", randomise(UNet(FOUR)))
    modules = randomise(MotionModules(MOTION))
    motion = written(tmp_path / "motion.safetensors", modules)
    trainer = trainer_on(tmp_path / "run", path, encoded, source=motion)
    assert trainer.spec.betas == "linear" and trainer.spec.frames == 32
    torch.testing.assert_close(trainer.sigmas, sigmas_of(BETAS["linear"]()).float())
    ours = trainer.network.temporal["input_blocks"][10]["inflate"].module
    assert torch.equal(ours.proj_in.weight, modules.module(("input", 10)).proj_in.weight)
    steps_of(trainer, 1)
    trainer.write(tmp_path / "mine.safetensors", "", "")
    found = read_trained(tmp_path / "mine.safetensors")
    assert found.spec.temporal.attention_kind == "animatediff" and found.spec.temporal.positions == 4
    narrow = written(tmp_path / "narrow.safetensors", MotionModules(replace(MOTION, channels=(64,) * 4)))
    with pytest.raises(ValueError, match="levels of 64, 64, 64, 64 channels.*the backbone is SD1.5"):
        beginning(open_unet(path), SHAPE, narrow)


def test_a_spec_that_does_not_go_together_is_refused(tmp_path: Path) -> None:
    spec = TrainedSpec("SD1.5", (32, 32), (1, 1), 32, 48, TemporalSpec((2,), condition_channels=0))
    tensors = new_temporal(IMAGE, spec.temporal)
    good = to_contents(TRAINED_FILE, asdict(spec), tensors, "", "")
    header = int.from_bytes(good[:8], "little")

    def refused(**changes: object) -> str:
        entries = json.loads(good[8 : 8 + header])
        said = {**asdict(spec), **changes}
        entries["__metadata__"]["spec"] = json.dumps(said)
        text = json.dumps(entries).encode()
        path = tmp_path / "x.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text + good[8 + header :])
        with pytest.raises(ValueError, match="x.safetensors") as caught:
            read_trained(path)
        return str(caught.value)

    assert "2 channels, 3 blocks and 1 strides" in refused(blocks=[1, 1, 1])
    assert "spec.base is 'SD9'" in refused(base="SD9")
    assert "spec.channels[0] is 33" in refused(channels=[33, 32])
    assert "embed_dim is 31" in refused(embed_dim=31)
    assert "positions is 4 with rotary" in refused(
        temporal={"strides": [2], "condition_channels": 0, "positions": 4}
    )
    assert "has other sizes" in refused(context_dim=64)
    deep = {"strides": [2, 2], "condition_channels": 0}
    assert "describes 90 tensors" in refused(channels=[32] * 3, blocks=[1] * 3, temporal=deep)


def test_checkpoints_that_are_told_more_than_noise_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "paint.safetensors", UNet(replace(IMAGE, in_channels=9)))
    with pytest.raises(ValueError, match="SD1.5 with 9 channels in.*fits its inpainting checkpoint"):
        beginning(open_unet(path), SHAPE, None)


# ----------------------------------------------------------------------------------------------------- command line
def test_the_command_trains_writes_and_goes_on(tmp_path: Path, backbone: Path, folder: Path, capsys) -> None:
    line = ["train", "temporal", "--backbone", str(backbone), "--clips", str(folder), "--runs", str(tmp_path)]
    line += ["--size", "64", "--frames", "4", "--fps", "4", "--device", "cpu", "--license", "CC0"]
    assert main([*line, "--minutes", "0.02"]) == 0
    run = tmp_path / "painter-temporal"
    first = [json.loads(row) for row in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (
        first[0]["step"] == 0
        and first[-1]["step"] > 0
        and set(first[0]["unseen"]) == set(first[-1]["unseen"])
    )
    found = read_trained(run / "painter-temporal.safetensors")
    assert found.license == "CC0" and found.trained_on.startswith(
        "4 stretches of clips, over painter.safeten"
    )
    assert main([*line, "--minutes", "0.04", "--before"]) == 2
    assert "no state before the last one" in capsys.readouterr().err
    assert main([*line, "--minutes", "0.11"]) == 0  # a step counts for 5 s at most
    rows = [json.loads(row) for row in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[-1]["step"] > first[-1]["step"] and rows[len(first)]["step"] == first[-1]["step"]
    assert main(["train", "plot", "--runs", str(tmp_path)]) == 0
    assert "at 0.95" in (run / "log.svg").read_text(encoding="utf-8")
    assert main([*line, "--minutes", "0.04", "--frames", "8"]) == 2
    assert "cannot go on with other settings" in capsys.readouterr().err
