"""Runs inside ComfyUI's own interpreter: the SD x4 upscaler behind Enlarge a Clip. Prints one JSON object.

`test_upscaler.py` starts it. The network is the host's own class with the x4 upscaler's attention pattern and noise
levels, a few channels wide, with random weights. The VAE is the host's own in full width. `Bare` shows the LATENT.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))
from inside import Pack, base, core, sentence  # noqa: E402, I001  (first: it puts the host on the path)
import comfy.model_management as management  # noqa: E402
import comfy.sample  # noqa: E402
import comfy.sd  # noqa: E402
import torch  # noqa: E402
from comfy.ldm.models.autoencoder import AutoencoderKL  # noqa: E402
from comfy_extras.nodes_sdupscale import SD_4XUpscale_Conditioning  # noqa: E402
from inside_inflate import SD15, Files, apart, drawn, noise  # noqa: E402
from inside_masks import PACK, SAVING, host_nodes, run_graph, to_prompt, watching  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from standins import TEXT_WIDTH, Text, model_of, wan_t2v  # noqa: E402
from torch import Tensor, nn  # noqa: E402

X4 = {
    **SD15,
    "in_channels": 7,
    "channel_mult": [1, 2, 2, 4],
    "transformer_depth": [0, 0, 1, 1, 1, 1, 1, 1],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    "use_linear_in_transformer": True,
}
WIDTHS = (32, 64, 64, 128)
BY_4 = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128}
BY_4 |= {"ch_mult": [1, 2, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
LEVEL = 0.1


class Bare:
    """A VAE that keeps the LATENT in sight: its first three channels, each cell as 4 x 4 pixels."""

    latent_channels = 4

    def decode(self, samples: Tensor) -> Tensor:
        return samples[:, :3].repeat_interleave(4, 2).repeat_interleave(4, 3).movedim(1, -1)

    def encode(self, image: Tensor) -> Tensor:
        small = nn.functional.avg_pool2d(image.movedim(-1, 1), 4)
        return torch.cat([small, small[:, :1]], 1)

    def spacial_compression_decode(self) -> int:
        return 4

    spacial_compression_encode = spacial_compression_decode


def scaled(network: nn.Module) -> nn.Module:
    """Weights that keep the size of what they are given."""
    for i, (name, weight) in enumerate(network.named_parameters()):
        if weight.ndim > 1:
            weight.copy_(noise(*weight.shape, seed=i) / weight[0].numel() ** 0.5)
        else:
            weight.fill_(float("norm" in name and name.endswith("weight")))
    return network


def prompt(seed: int, width: int = TEXT_WIDTH) -> list:
    return [[noise(1, 7, width, seed=seed), {}]]


def clip(frames: int = 5, height: int = 10, width: int = 13) -> Tensor:
    return torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(3))


@contextmanager
def by_pixels(model: Any) -> Iterator[None]:
    """A network that looks at single pixels: of the LATENT, of the small clip, of the noise levels and the prompt."""

    def forward(x: Tensor, timesteps: Tensor, context: Tensor, y: Tensor, **_: Any) -> Tensor:
        told = (timesteps / 1000 + y / 350 + context.mean((1, 2))).view(-1, 1, 1, 1)
        return (x[:, :4] + x[:, 4:].sum(1, keepdim=True) + told).tanh()

    with patch.object(model.model.diffusion_model, "forward", forward):
        yield


def cancelled(call: Callable[[], Any], model: Any, vae: Any, at: int) -> list[int]:
    """Calls of the network and of the decoder in a run that is cancelled in one of the network's calls, or in the first
    of the decoder's; or whether it was never cancelled."""
    seen = [0, 0]

    def note(*_: Any) -> None:
        seen[0] += 1
        if seen[0] == at:
            management.interrupt_current_processing(True)

    def decode(samples: Tensor) -> Tensor:
        seen[1] += 1
        management.interrupt_current_processing(True)
        return Bare().decode(samples)

    hook = model.model.diffusion_model.register_forward_pre_hook(note)
    try:
        with patch.object(vae, "decode", decode):
            call()
    except management.InterruptProcessingException:
        return seen
    finally:
        hook.remove()
        management.interrupt_current_processing(False)
    return []


def shipped(pack: Pack, image: Any, vae: Any) -> dict:
    """The shipped graph to its frames, with stand-ins for the files it names, on a smaller picture."""
    graph = json.loads((PACK / "workflows" / "3_x4_upscale_any_clip.json").read_text(encoding="utf-8"))
    files = [m["name"] for node in graph["nodes"] for m in node["properties"].get("models", [])]
    graph["nodes"] = [node for node in graph["nodes"] if node["type"] not in SAVING]
    classes = {**host_nodes(), **pack.nodes}
    used = {node["type"] for node in graph["nodes"]} & set(classes)
    given = to_prompt(graph, {kind: {"input": classes[kind].INPUT_TYPES()} for kind in used})
    for node in given.values():
        changes = {"ImageScale": {"width": 48, "height": 32}, "Lumiere_Upscale": {"steps": 1, "tile": 32}}
        node["inputs"] |= changes.get(node["class_type"], {})
    with watching(image) as calls:
        done = run_graph(given, classes, {"CheckpointLoaderSimple": (image, Text(), vae)})
    frames = done["Lumiere_Upscale"][0]
    return {
        "files": files,
        "given": list(done["ImageScale"][0].shape),
        "frames": list(frames.shape),
        "calls": len(calls),
        "spread": float(frames.std()),
    }


def loaded(pack: Pack) -> dict:
    """A file in the published layout through the core's loader: what it is found to be, and a clip of it.

    It has the published widths where the host looks at them (256 channels, text of 1024), and fewer levels' width.
    """
    sizes = {**X4, "model_channels": 256, "channel_mult": [1, 1, 1, 1], "context_dim": 1024}
    network = scaled(model_of("SD_X4Upscaler", **sizes).model.diffusion_model)
    tensors = {f"model.diffusion_model.{k}": v.half() for k, v in network.state_dict().items()}
    tensors |= {f"first_stage_model.{k}": v.half() for k, v in vae_weights().items()}
    folder = Path(base) / "models" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "x4.safetensors")
    model, _, vae = core.CheckpointLoaderSimple().load_checkpoint("x4.safetensors")
    (folder / "x4.safetensors").unlink()
    given = {"model": model, "vae": vae, "positive": prompt(1, 1024)}
    (made,) = pack.run("Upscale", clip(2, 8, 8), 5, 1, 2, 0, LEVEL, **given)
    return {
        "class": type(model.model).__name__,
        "prediction": model.model.model_type.name,
        "scale": vae.spacial_compression_decode(),
        "size": list(made.shape),
        "finite": bool(made.isfinite().all()),
    }


def vae_weights() -> dict[str, Tensor]:
    return scaled(AutoencoderKL(ddconfig=BY_4, embed_dim=4)).state_dict()


def reserved(pack: Pack, model: Any) -> dict:
    """What the host is asked to keep free for 80 frames of 512 x 512, with windows and tiles and without."""
    controls, windows = map(pack.module, ("nodes.host.controls", "lumiere_core.diffusion.windows"))
    shape = [80, 4, 512, 512]

    def asked(**settings: Any) -> list[int]:
        patcher = controls.controlled(model, **settings)
        return controls.prepare(lambda _, shape: shape, patcher, shape)

    return {
        "tiles": asked(windows=windows.Windows(16, 2), tile=128),
        "windows": asked(windows=windows.Windows(16, 2)),
        "whole": asked(tile=4096),
    }


class Bench:
    """What every part measures with: the pack, an x4 MODEL, the host's VAE and a bare one, and one upscaled clip."""

    def __init__(self) -> None:
        self.pack, self.bare = Pack(), Bare()
        self.files = Files(self.pack)
        self.image = drawn(model_of("SD_X4Upscaler", **X4))
        self.vae = comfy.sd.VAE(sd=vae_weights(), dtype=torch.float32)
        self.once = self.large(clip())

    def large(
        self,
        small: Tensor,
        model: Any = None,
        window: int = 16,
        overlap: int = 2,
        level: float = LEVEL,
        seed: int = 5,
        **more: Any,
    ) -> Tensor:
        """`(T, H, W, C)` to `(T, 4 H, 4 W, 3)`, two steps."""
        model = self.image if model is None else model
        given = {"model": model, "vae": self.bare, "positive": prompt(1), **more}
        return self.pack.run("Upscale", small, seed, 2, window, overlap, level, **given)[0]

    def guided(self, small: Tensor, **more: Any) -> Tensor:
        return self.large(small, negative=prompt(2), cfg=3.0, **more)

    def by_core(self, small: Tensor) -> Tensor:
        """What the core's own nodes make of it: they give each frame of a clip its own noise."""
        told = SD_4XUpscale_Conditioning
        args = (small, prompt(1), prompt(2), 4.0, LEVEL)
        yes, no, latent = told.execute(*args).args if hasattr(told, "execute") else told().encode(*args)
        made = core.common_ksampler(self.image, 5, 2, 3.0, "dpmpp_2m", "sgm_uniform", yes, no, latent)[0]
        return self.bare.decode(made["samples"])


def sizes(bench: Bench) -> dict:
    """Sizes and lengths, decoded by the host's own VAE."""
    vae, clips = bench.vae, (clip(), clip(1, 8, 8), clip(3, 9, 16)[..., :1], clip(2, 3, 5))
    made = bench.large(clip(2), vae=vae)
    return {
        "scale": vae.spacial_compression_decode(),
        "sizes": [[list(given.shape[:3]), list(bench.large(given, vae=vae).shape)] for given in clips],
        "in range": [float(made.amin()), float(made.amax())],
    }


def what_acts(bench: Bench) -> dict:
    """How far each input takes the result from the one before; the same inputs take it nowhere."""
    made = {
        "again": bench.large(clip()),
        "other seed": bench.large(clip(), seed=6),
        "noise level": bench.large(clip(), level=0.3),
        "clip": bench.large(1 - clip()),
        "cfg": bench.guided(clip()),
        "prompt": bench.large(clip(), positive=prompt(4)),
    }
    return {what: apart(changed, bench.once) for what, changed in made.items()}


def beside_the_core(bench: Bench) -> dict:
    """One picture is what the core's own nodes make of it, and a still clip is one picture over and over."""
    one, still = clip(1), clip(1).expand(5, -1, -1, -1)
    ours, theirs = bench.guided(still), bench.by_core(still)
    image = bench.image
    return {
        "core": apart(bench.guided(one), bench.by_core(one)),
        "left as it was": [
            image.object_patches == {},
            type(image.model.noise_augmentor).__name__,
            image.model_options.get("transformer_options", {}) == {},
        ],
        "still": [apart(made[1:], made[:1].expand(4, -1, -1, -1)) for made in (ours, theirs)],
        "still is one picture": apart(ours[:1], bench.guided(one)),
    }


def tiles_and_windows(bench: Bench) -> dict:
    """Windows of frames and tiles of pixels, with a network that looks at single pixels: no tile may show."""
    wide, large = clip(5, 40, 75), bench.large
    spans = [
        [prompt(s)[0][0], {"mask": m.view(-1, 1, 1).expand(-1, 40, 75), "set_area_to_bounds": False}]
        for s, m in ((1, (torch.arange(5) < 2).float()), (8, (torch.arange(5) >= 2).float()))
    ]
    with by_pixels(bench.image), watching(bench.image) as calls:
        whole = bench.guided(wide, tile=4096)
        before = len(calls)
        tiled = bench.guided(wide, tile=32, window=3, overlap=1)
        both = large(wide, tile=32, positive=spans)
        first, second = large(wide, tile=4096), large(wide, tile=4096, positive=prompt(8))
    seen = sorted({tuple(c["x"].shape[-2:]) for c in calls[before:]})
    (rolled,) = bench.pack.run("Loop", bench.image, 3)
    return {
        "windows": apart(bench.guided(clip(), window=2, overlap=1), bench.guided(clip())),
        "tiles": apart(tiled, whole),
        "prompts in tiles": [
            apart(both[:2], first[:2]),
            apart(both[2:], second[2:]),
            apart(first, second),
        ],
        "seen": seen,
        "tiles of the network": apart(bench.guided(wide, tile=32), bench.guided(wide, tile=4096)),
        "loop": apart(large(clip(), rolled, window=3, overlap=1), bench.once),
        "reserved": reserved(bench.pack, bench.image),
    }


def known_pixels(bench: Bench) -> dict:
    source = torch.rand(5, 40, 52, 3, generator=torch.Generator().manual_seed(8))
    mask = torch.zeros(1, 40, 52)
    mask[:, 10:30, 20:41] = 1
    inside = mask[0].bool()
    kept = bench.large(clip(), source=source, mask=mask)
    latent = bench.pack.run("MaskedLatent", bench.bare, source, "inpaint", 5, "0", 0, 1.0, mask)
    _, change, pictures, region = latent
    whole = bench.large(clip(), source=pictures, mask=change, region=region)

    def beside_source(made: Tensor) -> list[float]:
        """The largest difference outside the mask, and how far apart they are inside."""
        return [
            float((made - source)[:, ~inside].abs().max()),
            apart(made[:, inside], source[:, inside]),
        ]

    return {
        "kept": beside_source(kept),
        "held": apart(kept[:, inside], bench.once[:, inside]),
        "put back": [list(whole.shape) == list(source.shape), *beside_source(whole)],
    }


def motion(bench: Bench) -> dict:
    """Motion layers for its widths; with a strength mask, in the tiles that it touches alone."""
    bench.files.write("x4.safetensors", widths=WIDTHS)
    bench.files.write("x4_still.safetensors", widths=WIDTHS, scale=0.0)
    inflate = partial(bench.pack.run, "Inflate", bench.image)
    moving, frozen = (inflate(f"{name}.safetensors", 1.0, "auto")[0] for name in ("x4", "x4_still"))
    strip, part = clip(3, 32, 96), torch.zeros(1, 32, 96)
    part[..., :16] = 1  # tiles begin in the columns 0, 21, 43 and 64
    (partly,) = inflate("x4.safetensors", 1.0, "auto", strength_mask=part)
    made, plain = bench.large(strip, partly, tile=32), bench.large(strip, tile=32)
    return {
        "motion": [apart(bench.large(clip(), model), bench.once) for model in (frozen, moving)],
        "motion in a tile": [
            apart(made[:, :, 4 * 53 :], plain[:, :, 4 * 53 :]),
            apart(made[:, :, :64], plain[:, :, :64]),
        ],
    }


def strided(bench: Bench) -> dict:
    """How far every eighth frame is from the image model's with temporal layers as they begin, and with others."""
    pack, image = bench.pack, bench.image
    trained, stunet = (pack.module(f"lumiere_core.model.{name}") for name in ("backbones.trained", "stunet"))
    image_model = pack.module("nodes.host.image.spacetime")
    unet = image_model.spec_of_model(image, image_model.originals(image))
    temporal = pack.module("lumiere_core.config").TemporalSpec(
        strides=trained.strides_for(unet), condition_channels=0
    )
    sizes = {name: getattr(unet, name) for name in ("channels", "blocks", "embed_dim", "context_dim")}
    spec = trained.TrainedSpec("the SD x4 upscaler", **sizes, temporal=temporal)
    enlarged = partial(bench.large, clip(9), window=9, overlap=0)
    begun, plain, found = stunet.new_temporal(unet, temporal), enlarged(), []
    for name, by in (("begun", 0.0), ("learnt", 0.05)):
        tensors = {key: t + by * noise(*t.shape, seed=i) for i, (key, t) in enumerate(begun.items())}
        file = bench.files.motion / f"{name}.safetensors"
        trained.save_trained(file, spec, tensors, license="", trained_on="")
        (model,) = pack.run("Inflate", image, file.name, 1.0, "auto", mode="lumiere")
        found.append(apart(enlarged(model=model)[::8], plain[::8]))
    return {"strided": found}


def cancelling(bench: Bench) -> dict:
    """In the third call of the network; after the last one, while frames are decoded."""
    long = partial(bench.large, clip(6, 40, 75), window=2, overlap=0, tile=32)
    with watching(bench.image) as calls, by_pixels(bench.image):
        long()
    stopped = [cancelled(long, bench.image, bench.bare, at) for at in (3, 10**6)]
    return {"cancelled": [len(calls), *stopped]}


def refused(bench: Bench) -> dict:
    pack, run = bench.pack, partial(bench.large, clip())
    bench.files.write("sd15.safetensors")
    by_8 = Bare()
    by_8.spacial_compression_decode = lambda: 8
    core_s = (bench.image, prompt(1), prompt(2), clip(), 0.05, 0)
    calls = {
        "sd15": lambda: run(drawn(model_of("SD15", **SD15))),
        "video model": lambda: run(wan_t2v().model),
        "our base model": lambda: run(pack.model),
        "no vae": lambda: run(vae=None),
        "vae by 8": lambda: run(vae=by_8),
        "our vae": lambda: run(vae=pack.vae),
        "no prompt": lambda: run(positive=None),
        "foreign prompt": lambda: run(positive=prompt(1, 768)),
        "foreign negative": lambda: run(negative=prompt(1, 768)),
        "cfg alone": lambda: run(cfg=4.0),
        "tile": lambda: run(tile=8),
        "noise level": lambda: run(level=0.5),
        "overlap": lambda: run(window=2, overlap=2),
        "motion of sd15": lambda: pack.run("Inflate", bench.image, "sd15.safetensors", 1.0, "auto"),
        "ksampler node": lambda: pack.run("UpscaleConditioning", *core_s),
    }
    return {"refused": {what: sentence(call) for what, call in calls.items()}}


PARTS = (
    sizes,
    what_acts,
    beside_the_core,
    tiles_and_windows,
    known_pixels,
    motion,
    strided,
    cancelling,
    refused,
)


def main() -> None:
    bench, report = Bench(), {}
    for part in PARTS:
        report |= part(bench)
    report["loader"] = loaded(bench.pack)
    report["workflow"] = shipped(bench.pack, bench.image, bench.bare)
    print("REPORT " + json.dumps(report))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
