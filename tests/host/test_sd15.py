"""SD1.5's inpainting checkpoint with motion, and the graphs of SD1.5 that need more than a prompt: what was measured.

`inside_sd15.py` ran them in the real host. The images are those of random weights: what the networks are given is real,
what they make of it is noise.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

EXACT = 1e-5
BASE, STYLE, PAINT, MOTION = (
    f"{name}.safetensors"
    for name in ("v1-5-pruned-emaonly-fp16", "DreamShaper_8_pruned", "sd-v1-5-inpainting", "mm_sd15_v3")
)
# Cells of 8 pixels that are open in each of 6 frames of 64 x 64. The region has 4 x 4 of them, on the grid and off it.
OPEN = {
    "inpaint on the grid": [16] * 6,
    "inpaint off the grid": [16] * 6,
    "cinemagraph on the grid": [0, *[16] * 5],
    "cinemagraph off the grid": [0, *[16] * 5],
    "first frame on the grid": [0, *[64] * 5],
    "chosen frames on the grid": [0, 64, 64, 0, 64, 64],
}


@pytest.fixture(scope="session")
def sd15(ask: Callable[[str], dict]) -> dict:
    return ask("inside_sd15.py")


def flat_latents(image: Tensor) -> Tensor:
    """What `FlatVAE` of `inside_sd15.py` encodes, of `(T, 3, H, W)` in [-1, 1]."""
    mix = torch.tensor([[0.9, 0.2, -0.1], [-0.3, 0.8, 0.4], [0.1, -0.5, 0.7], [0.3, 0.3, -0.6]])
    return torch.einsum("oc,tchw->tohw", mix / 0.18215, F.avg_pool2d(image, 8))


def by_hand(pixels: Tensor, mask: Tensor) -> Tensor:
    """The mask and the masked picture as Stable Diffusion's inpainting model was trained on them, `(T, 5, h, w)`.

    pixels `(T, H, W, 3)` in [0, 1], mask `(T, H, W)`, 1 where something is to be made. A mask of one pixel a cell; then
    the latents of the picture, which is grey where something is to be made, 0.18215 times what the VAE gives.
    """
    change = (mask[:, None] >= 0.5).float()
    cells = change[:, :, ::8, ::8]
    return torch.cat([cells, 0.18215 * flat_latents((pixels.movedim(-1, 1) * 2 - 1) * (1 - change))], dim=1)


def by_diffusers(pixels: Tensor, mask: Tensor) -> Tensor:
    """The same, from what diffusers' inpainting pipeline gives its U-Net at its first step; its VAE is `FlatVAE`."""
    pytest.importorskip("transformers", reason="diffusers has no pipelines without it")
    diffusers = pytest.importorskip("diffusers")
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8,) * 4,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    vae.encode = lambda image: SimpleNamespace(
        latent_dist=SimpleNamespace(sample=lambda generator: flat_latents(image))
    )
    unet = diffusers.UNet2DConditionModel(
        in_channels=9,
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        cross_attention_dim=8,
        layers_per_block=1,
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    pipeline = diffusers.StableDiffusionInpaintPipeline(
        vae,
        None,
        None,
        unet,
        diffusers.DDIMScheduler(steps_offset=1),
        None,
        None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    seen: list[Tensor] = []
    unet.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    frames, height, width = mask.shape
    text = torch.zeros(frames, 7, 8)
    noise = torch.randn(frames, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
    pipeline(
        prompt_embeds=text,
        negative_prompt_embeds=text,
        image=pixels.movedim(-1, 1) * 2 - 1,
        mask_image=mask[:, None],
        height=height,
        width=width,
        latents=noise,
        num_inference_steps=1,
        output_type="latent",
    )
    first = seen[0][:frames]
    assert first.shape[1] == 9 and torch.equal(first[:, :4], noise), "what is denoised comes first"
    return first[:, 4:]


@pytest.mark.parametrize("reference", [by_hand, by_diffusers])
@pytest.mark.parametrize("task", OPEN)
def test_the_nine_channels_are_those_of_diffusers(sd15: dict, task: str, reference: Callable) -> None:
    """Order, polarity and scale; where the region has another edge than the cells, the core rounds it its own way."""
    found = sd15[task]
    given, mask = torch.tensor(found["x"]), torch.tensor(found["mask"])
    theirs = reference(torch.tensor(found["pixels"]), mask)
    assert given.shape == (6, 9, 8, 8)
    assert float(given[:, :4].std()) == pytest.approx(1, abs=0.1), "noise of sigma over sqrt(1 + sigma^2)"
    assert torch.allclose(given[:, 5:], theirs[:, 1:], atol=1e-5), "the masked picture"
    assert float(theirs[:, 1:].abs().max()) > 0.1
    unlike = given[:, 4] != theirs[:, 0]
    if "off the grid" in task:
        share = F.avg_pool2d(mask, 8)
        edge = (share > 0) & (share < 1)
        assert edge.any() and not (unlike & ~edge).any(), "cells that are wholly open or known are so in both"
    else:
        assert not unlike.any(), "1 where something is to be made"


@pytest.mark.parametrize("task", OPEN)
def test_every_frame_is_shown_its_mask_at_every_step(sd15: dict, task: str) -> None:
    assert sd15[task]["open"] == OPEN[task] and sd15[task]["same at every step"]
    assert sd15[task]["held"] < 1e-4, "and the latents that are known come back"


def test_without_motion_it_is_the_host_s_own_inpainting(sd15: dict) -> None:
    assert sd15["still"] < EXACT and sd15["again"] == 0 and sd15["moves"] > 0.01


def test_a_window_is_shown_the_masks_of_its_frames(sd15: dict) -> None:
    found = sd15["windows"]
    assert found["seen"] == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]] * 4 and found["cells"] == [4 * 8]


def test_a_loop_turns_the_masks_with_the_frames(sd15: dict) -> None:
    """By hand: at each noise level the clip begins at the frame that the loop's seed says."""
    found = sd15["loop"]
    assert found["seen"] == [[(shift + i) % 8 for i in range(8)] for shift in sd15["shifts"]]
    assert len(set(sd15["shifts"])) > 1


def test_a_loop_closes_where_the_motion_file_alone_never_would(sd15: dict) -> None:
    closed, alone = sd15["seam"]
    assert closed < 2 and alone > 4


def test_two_checkpoints_are_mixed_and_the_motion_file_is_not(sd15: dict) -> None:
    found = sd15["3_sd15_stylization"]
    assert found["files"] == [BASE, STYLE, MOTION]
    assert found["frames"] == [16, 64, 64, 3] and found["seen"] == [16]
    assert max(found["like one"]) < EXACT, "a MODEL of 0.4 x the first and 0.6 x the other; each at its end"
    assert min(found["unlike the ends"]) > 0.01


def check_photo(found: dict) -> None:
    """The photo's own pixels come back, and the others move."""
    assert found["clip"] == [16, 170, 250, 3] and found["photo"] == [1, 170, 250, 3]
    assert found["outside"] == 0 and 0.1 < found["outside share"] < 0.9
    assert found["painted"] > 0.1 and found["moves"] > 0.1


def test_a_cinemagraph_moves_what_is_painted_and_nothing_else(sd15: dict) -> None:
    found = sd15["3_sd15_cinemagraph"]
    check_photo(found)
    assert found["files"] == [PAINT, MOTION] and found["seen"] == [16] and found["channels"] == [9]
    assert found["mask"] == 0 and len(set(found["open"])) == 1 and 0.1 < found["open"][0] < 0.9
    assert found["sigma"] < 25, "denoise 0.8 begins with some of the photo"
    assert found["loop"] > 1e-3


def test_a_cinemagraph_runs_with_an_ordinary_checkpoint_too(sd15: dict) -> None:
    found = sd15["3_sd15_cinemagraph"]["ordinary"]
    check_photo(found)
    assert found["channels"] == [4]


def test_a_brushed_draft_is_refined_as_far_as_asked_and_only_inside(sd15: dict) -> None:
    found = sd15["3_motion_brush_refined_sd15"]
    check_photo(found)
    assert found["files"] == [BASE, MOTION] and found["seen"] == [16] and found["draft"][0] == 16
    assert found["denoise"] == pytest.approx(0.5) and found["sigma"] < 5
    assert found["held"] < EXACT and 0.1 < found["held share"] < 0.9
    less, asked = found["from the draft"]
    assert 0 < less < asked, "0.2 and 0.5 of the way"
    assert found["loop"] > 1e-3


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("base", ["for SDXL", "the MODEL is SD1.5"]),
        ("frames", ["33 frames", "reads 32 at most", "window of 16"]),
        ("nothing painted", ["the mask is empty", "MaskEditor"]),
        ("no mask", ["inpaint needs a mask", "MaskEditor"]),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(sd15: dict, what: str, parts: list[str]) -> None:
    assert all(part in sd15["refused"][what] for part in parts), sd15["refused"][what]
