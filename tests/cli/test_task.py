"""`generate --task`: pictures, clips and masks from files, and known pixels back in them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lumiere_core.cli import main
from lumiere_core.config import replace
from lumiere_core.media.files import write_clip
from lumiere_core.model.checkpoint import Lumiere, save
from lumiere_core.model.stunet import SpaceTimeUNet


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    """A photo of 48x40 pixels, a small one, a clip of it, and a mask of its middle."""
    drawn = np.random.default_rng(0)
    paths = {name: str(tmp_path / f"{name}.png") for name in ("photo", "small", "other", "mask", "black")}
    for name in ("photo", "small", "other"):
        side = (40, 48) if name == "photo" else (8, 8)
        cv2.imwrite(paths[name], drawn.integers(0, 256, (*side, 3), dtype=np.uint8))
    mask = np.zeros((40, 48), np.uint8)
    mask[10:30, 16:40] = 255
    cv2.imwrite(paths["mask"], mask)
    cv2.imwrite(paths["black"], mask * 0)
    clip = torch.rand(3, 12, 40, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return paths | {"clip": str(write_clip(tmp_path / "clip.mp4", clip, 32.0))}


@pytest.fixture
def command(weights_files, tmp_path, files):
    """`command("--task", "image", ...)` with tiny weights, into a folder of pictures, which are given back."""
    base, ssr = weights_files

    def run(*options: str) -> np.ndarray:
        fixed = [
            "generate",
            "--weights",
            str(base),
            "--ssr-weights",
            str(ssr),
            "--size",
            "16",
            "--frames",
            "5",
        ]
        fixed += [
            "--steps",
            "2",
            "--ssr-steps",
            "1",
            "--prompt",
            "a red balloon",
            "--out",
            str(tmp_path / "out"),
        ]
        assert main([*fixed, *(option.format(**files) for option in options)]) == 0
        return np.stack([cv2.imread(str(path)) for path in sorted((tmp_path / "out").iterdir())])

    return run


def test_the_first_frame_is_the_picture_and_with_two_the_last_is_the_other(command, files):
    small, other = (cv2.imread(files[name]) for name in ("small", "other"))
    made = command("--task", "image", "--image", "{small}", "{other}", "--no-ssr")
    assert made.shape == (5, 8, 8, 3)
    assert (made[0] == small).all() and (made[-1] == other).all()
    assert (made[2] != small).any()


@pytest.mark.parametrize("ssr", ["--ssr", "--no-ssr"])
def test_the_first_frame_of_a_photo_is_the_photo_at_its_own_size(command, files, ssr):
    made = command("--task", "image", "--image", "{photo}", ssr)
    assert made.shape == (5, 40, 48, 3)
    assert (made[0] == cv2.imread(files["photo"])).all()
    assert (made[1:] != made[0]).mean() > 0.5


def test_grey_in_a_mask_is_mixed_once(command, files, tiny_spec, tmp_path, monkeypatch):
    """A network that says black makes half of the photo's light where the mask is half grey."""
    spec = replace(tiny_spec, diffusion=replace(tiny_spec.diffusion, prediction="x0"))
    black, grey = tmp_path / "black.safetensors", str(tmp_path / "grey.png")
    save(black, spec, Lumiere(spec).state_dict(), license="Apache-2.0", trained_on="nothing")
    monkeypatch.setattr(SpaceTimeUNet, "forward", lambda self, x, *_, **__: torch.full_like(x, -1))
    cv2.imwrite(grey, np.full((40, 48), 128, np.uint8))
    options = "--image", "{photo}", "--mask", grey, "--weights", str(black), "--feather", "0", "--no-ssr"
    made = command("--task", "inpaint", *options)
    assert np.abs(made - cv2.imread(files["photo"]) * (127 / 255)).max() <= 1


@pytest.mark.parametrize("larger", [1, 4])
def test_the_edge_is_soft_in_a_picture_as_small_as_the_model_too(
    command, tiny_spec, tmp_path, monkeypatch, larger
):
    """A network that says black in a white picture: grey along the edge, and black behind it."""
    spec = replace(tiny_spec, diffusion=replace(tiny_spec.diffusion, prediction="x0"))
    black, white, half = (str(tmp_path / name) for name in ("black.safetensors", "white.png", "half.png"))
    save(Path(black), spec, Lumiere(spec).state_dict(), license="Apache-2.0", trained_on="nothing")
    monkeypatch.setattr(SpaceTimeUNet, "forward", lambda self, x, *_, **__: torch.full_like(x, -1))
    cv2.imwrite(white, np.full((16, 16), 255, np.uint8))
    cv2.imwrite(half, np.repeat(np.array([[0] * 8 + [255] * 8], np.uint8), 16, axis=0))
    options = "--image", white, "--mask", half, "--feather", "3", "--weights", black
    made = command("--task", "cinemagraph", *options, "--ssr" if larger > 1 else "--no-ssr")
    row = made[-1, 8 * larger, :, 0].astype(int)
    assert made.shape[1] == 16 * larger and (made[0] == 255).all()
    assert (row[: 7 * larger] == 255).all() and (row[: 8 * larger] > 245).all()
    assert (np.diff(row) <= 0).all() and (row[12 * larger :] == 0).all() and 200 < row[8 * larger] < 255


@pytest.mark.parametrize("ssr", ["--ssr", "--no-ssr"])
def test_a_photo_comes_back_at_its_own_size_and_unchanged_where_the_mask_is_black(command, files, ssr):
    made = command("--task", "cinemagraph", "--image", "{photo}", "--mask", "{mask}", ssr)
    photo, black = cv2.imread(files["photo"]), cv2.imread(files["mask"])[..., 0] == 0
    assert made.shape == (5, 40, 48, 3)
    assert (made[:, black] == photo[black]).all() and (made[0] == photo).all()
    assert (made[1:, ~black] != photo[~black]).mean() > 0.5


def test_a_clip_is_shown_at_the_models_rate_and_edited_inside_a_mask(command, capsys):
    options = "--video", "{clip}", "--mask", "{mask}", "--strength", "0.1", "--inside", "0.9", "--no-ssr"
    made = command("--task", "edit", *options)
    assert made.shape == (5, 40, 48, 3)
    said = capsys.readouterr().err
    assert "12 frames at 32 fps became 6 at 16." in said


@pytest.mark.parametrize(
    ("frames", "words"),
    [("40", "The clip has 6 frames, so 6 are made and not 40."), ("4", "The first 4 of 6 frames are taken.")],
)
def test_a_clip_of_another_length_than_asked_for_is_said(command, capsys, frames, words):
    made = command("--task", "edit", "--video", "{clip}", "--no-ssr", "--frames", frames)
    assert len(made) == min(6, int(frames)) and words in capsys.readouterr().err


@pytest.mark.parametrize("ssr", ["--ssr", "--no-ssr"])
def test_what_an_edit_changes_a_little_is_not_mixed_with_the_source(
    command, files, tiny_spec, tmp_path, monkeypatch, ssr
):
    """A network that says black leaves black, at the strength outside the mask as at the one inside."""
    spec = replace(tiny_spec, diffusion=replace(tiny_spec.diffusion, prediction="x0"))
    black = tmp_path / "black.safetensors"
    save(black, spec, Lumiere(spec).state_dict(), license="Apache-2.0", trained_on="nothing")
    monkeypatch.setattr(SpaceTimeUNet, "forward", lambda self, x, *_, **__: torch.full_like(x, -1))
    strengths = "--strength", "0.6", "--inside", "1"
    made = command(
        *(
            "--task",
            "edit",
            "--image",
            "{photo}",
            "--mask",
            "{mask}",
            *strengths,
            ssr,
            "--weights",
            str(black),
        )
    )
    assert made.shape == (5, 40, 48, 3) and made.max() == 0


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (("--task", "inpaint", "--video", "{clip}", "--mask", "{mask}"), (5, 40, 48)),
        (("--task", "outpaint", "--image", "{small}", "--room", "4"), (5, 16, 16)),
        (("--task", "extend", "--video", "{clip}", "--keep", "2"), (5, 40, 48)),
        (("--task", "edit", "--image", "{small}"), (5, 8, 8)),
    ],
)
def test_every_task_runs(command, options, shape):
    assert command(*options, "--no-ssr").shape[:3] == shape


@pytest.mark.parametrize("how", [(), ("--window", "4", "--overlap", "2"), ("--loop",)], ids=str)
def test_a_network_that_copies_what_it_is_told_gives_it_back(
    command, files, tiny_spec, tmp_path, monkeypatch, how
):
    """From the files to the network: C where the mask is black, blank where it is white."""
    spec = replace(tiny_spec, diffusion=replace(tiny_spec.diffusion, prediction="x0"))
    copying = tmp_path / "copying.safetensors"
    save(copying, spec, Lumiere(spec).state_dict(), license="Apache-2.0", trained_on="nothing")
    monkeypatch.setattr(
        SpaceTimeUNet, "forward", lambda self, x, t, context, condition=None, **_: condition[:, :3]
    )
    made = command(
        *("--task", "outpaint", "--image", "{small}", "--room", "4", "--feather", "0"),
        *("--no-ssr", "--weights", str(copying), *how),
    )
    assert (made[:, 4:12, 4:12] == cv2.imread(files["small"])).all()
    made[:, 4:12, 4:12] = 128
    assert np.abs(made.astype(int) - 127.5).max() < 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--task", "magic"), "task is 'magic', but it has to be one of text, image"),
        (("--image", "{photo}"), "task is 'text', which takes no --image"),
        (("--task", "inpaint", "--mask", "{mask}"), "takes --image or --video"),
        (("--task", "inpaint", "--video", "{clip}"), "needs a --mask"),
        (("--task", "inpaint", "--image", "{photo}", "--mask", "{black}"), "nothing would be made"),
        (("--task", "image", "--image", "{photo}", "{small}"), "the pictures are 8x8 and 48x40"),
        (("--task", "image", "--image", "{small}", "{small}", "{small}"), "3 pictures were given"),
        (("--task", "extend", "--video", "{clip}", "--keep", "5"), "5 frames of the clip are to be kept"),
        (("--task", "edit", "--video", "{clip}", "--strength", "0"), "strength is 0"),
        (("--task", "edit", "--video", "{mask}"), "cannot be read as a video"),
        (("--task", "image", "--image", "{clip}"), "cannot be read as a picture"),
        (("--task", "image", "--video", "{clip}"), "takes --image. To go on with a clip, use --task extend"),
        (
            ("--task", "extend", "--image", "{photo}"),
            "takes --video. To begin with a picture, use --task image",
        ),
        (
            ("--task", "inpaint", "--image", "{photo}", "{photo}", "--mask", "{mask}"),
            "2 pictures were given, but inpaint takes one, or a clip by --video",
        ),
        (
            ("--task", "image", "--image", "{photo}", "--mask", "{mask}"),
            "--mask is for cinemagraph, inpaint, edit",
        ),
        (
            ("--task", "image", "--image", "{photo}", "--room", "8"),
            "--room is for outpaint, but the task is 'image'",
        ),
        (
            ("--task", "edit", "--video", "{clip}", "--keep", "8"),
            "--keep is for extend, but the task is 'edit'",
        ),
        (("--task", "edit", "--video", "{clip}", "--inside", "1"), "Give a --mask, or leave it out"),
        (
            ("--task", "inpaint", "--image", "{photo}", "--mask", "{mask}", "--strength", "1"),
            "--strength is for edit, but the task is 'inpaint'",
        ),
        (("--strength", "0.3"), "task is 'text', which takes no --strength"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(weights_files, tmp_path, files, options, words, capsys):
    base, ssr = weights_files
    fixed = ["generate", "--weights", str(base), "--ssr-weights", str(ssr), "--frames", "5", "--steps", "1"]
    given = [option.format(**files) for option in options]
    assert main([*fixed, "--out", str(tmp_path / "out"), *given]) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()
