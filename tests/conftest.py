"""Puts the repository's root last on the path: a ComfyUI's own `nodes` module must win over our folder of that name.

And what the engine's tests share: the smallest models there are, with weights drawn by chance instead of zeros.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:
    sys.path.append(ROOT)

WORDS = ("a", "red", "blue", "balloon", "boat", "rising", "over", "on", "the", "sea")


@pytest.fixture(scope="session")
def randomise() -> Callable:
    """`randomise(module, seed)` draws every parameter anew, so that nothing a fresh model zeroes hides a fault."""
    import torch

    def draw(module, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        for p in module.parameters():
            std = p[0].numel() ** -0.5 if p.ndim > 1 else 0.5
            p.data.copy_(torch.randn(p.shape, generator=generator) * std)
        return module.eval().requires_grad_(False)

    return draw


@pytest.fixture(scope="session")
def tiny_spec():
    """The preset "tiny" with a handful of words."""
    from lumiere_core.config import PRESETS, replace

    spec = PRESETS["tiny"]
    return replace(spec, text=replace(spec.text, vocabulary=WORDS))


@pytest.fixture(scope="session")
def ssr_spec(tiny_spec):
    """Super-resolution as small as that: four times, windows of 6 frames, multiples of 4 pixels in."""
    from lumiere_core.config import PRESETS, TemporalSpec, replace

    spec = PRESETS["mini-ssr"]
    small = {"channels": (16, 24, 32), "groups": 4, "head_dim": 8, "embed_width": 32}
    unet = replace(spec.unet, **small, context_dim=16, word_dim=16)
    temporal = TemporalSpec(head_dim=8, condition_channels=0)
    return replace(
        spec,
        name="tiny-ssr",
        unet=unet,
        temporal=temporal,
        text=tiny_spec.text,
        size=32,
        window=6,
        label="tiny ssr",
    )


@pytest.fixture(scope="session")
def tiny(tiny_spec, randomise):
    """A base model, random."""
    from lumiere_core.model.checkpoint import Lumiere

    return randomise(Lumiere(tiny_spec))


@pytest.fixture(scope="session")
def tiny_ssr(ssr_spec, randomise):
    """A super-resolution model, random."""
    from lumiere_core.model.checkpoint import Lumiere

    return randomise(Lumiere(ssr_spec), seed=1)


@pytest.fixture(scope="session")
def weights_files(tmp_path_factory, tiny, tiny_ssr) -> tuple[Path, Path]:
    """Both as weights files: (base, super-resolution)."""
    from lumiere_core.model.checkpoint import save

    folder = tmp_path_factory.mktemp("weights")
    files = folder / "tiny.safetensors", folder / "tiny-ssr.safetensors"
    for file, model in zip(files, (tiny, tiny_ssr), strict=True):
        save(file, model.spec, model.state_dict())
    return files


@pytest.fixture
def full_disk():
    """A disk with room for 4 kB: `with full_disk(): ...` (POSIX only)."""
    import contextlib

    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def filled(size: int = 4096):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return filled
