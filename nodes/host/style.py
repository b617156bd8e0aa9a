"""Styles on a MODEL: weights mixed by the host's own patches, so that nothing lies twice on the device."""

from __future__ import annotations

from typing import Any

import comfy.lora
import comfy.model_management
import torch

from ...lumiere_core.model.checkpoint import Lumiere
from ...lumiere_core.model.style import Style, check_same, chosen, is_spatial
from ...lumiere_core.train.style.tune import image_model
from .model import LumiereModel

NETWORK = "diffusion_model."


def architecture(model: Any) -> str:
    """What a MODEL is, in words for a sentence."""
    if isinstance(model.model, LumiereModel):
        return model.model.lumiere.label or model.model.lumiere.name
    return f"{type(model.model.model_config).__name__} ({type(model.model).__name__})"


def shapes_of_network(model: Any) -> dict[str, tuple[int, ...]]:
    """Names and sizes of a MODEL's weights, without what the host puts in front."""
    return {
        name.removeprefix(NETWORK): tuple(w.shape)
        for name, w in model.model_state_dict(NETWORK).items()
        if w.is_floating_point()
    }


def with_style(model: Any, style: Style, alpha: float, spatial: bool = True) -> Any:
    """A clone of the MODEL: `alpha * W_style + (1 - alpha) * W_orig`. Raises ValueError for another model's style."""
    shapes, name = shapes_of_network(model), architecture(model)
    styled = model.clone()
    if style.changes:
        tensors, places = {}, {}
        for weight, change in chosen(style, shapes, name, spatial).items():
            tensors[f"{weight}.lora_up.weight"] = change.up
            tensors[f"{weight}.lora_down.weight"] = change.down
            tensors[f"{weight}.alpha"] = torch.tensor(change.scale * change.down.shape[0])
            places[weight] = NETWORK + weight
        styled.add_patches(comfy.lora.load_lora(tensors, places), alpha)
        return styled
    mixed = {k: w for k, w in style.weights.items() if is_spatial(k) or not spatial}
    wanted = {k: shape for k, shape in shapes.items() if is_spatial(k) or not spatial}
    check_same({k: tuple(w.shape) for k, w in mixed.items()}, wanted, style.name, name)
    styled.add_patches({NETWORK + k: (w,) for k, w in mixed.items()}, alpha, 1 - alpha)
    return styled


def with_model(model: Any, other: Any, alpha: float, spatial: bool = True) -> Any:
    """A clone of the MODEL mixed with another one of its architecture, LoRAs of either included. Raises ValueError.

    The host would log a weight of another size, and still scale the one it was for: so sizes are compared first.
    """
    wanted, theirs = (
        {k: shape for k, shape in shapes_of_network(m).items() if is_spatial(k) or not spatial}
        for m in (model, other)
    )
    check_same(theirs, wanted, architecture(other), architecture(model))
    patches = other.get_key_patches(NETWORK)
    styled = model.clone()
    styled.add_patches({NETWORK + k: patches[NETWORK + k] for k in wanted}, alpha, 1 - alpha)
    return styled


def weights_now(model: Any) -> dict[str, torch.Tensor]:
    """A MODEL's weights with its LoRAs and styles, as copies on the CPU that can be trained on, float32."""
    weights = {}
    for name, ((weight, convert), *patches) in model.get_key_patches(NETWORK).items():
        w = convert(weight.to("cpu", torch.float32, copy=True), inplace=True)
        weights[name.removeprefix(NETWORK)] = comfy.lora.calculate_weight(patches, w, name) if patches else w
    return weights


def image_model_of(model: Any) -> Lumiere:
    """The image model inside one of our MODELs, on the host's device. Raises ValueError for another MODEL."""
    if not isinstance(model.model, LumiereModel):
        raise ValueError(
            f"the MODEL is {architecture(model)}, but styles are tuned on a Lumiere model here. Train a LoRA for "
            "it with its own tools."
        )
    with torch.inference_mode(False):  # what is made in inference mode cannot be trained on
        tensors = {f"network.{name}": w.clone() for name, w in weights_now(model).items()}
        tensors |= {name: t.clone() for name, t in model.model.text.tensors.items()}
        return image_model(model.model.lumiere, tensors).to(comfy.model_management.get_torch_device())
