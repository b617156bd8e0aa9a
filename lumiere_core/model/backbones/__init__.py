"""Public image models as backbones: their U-Nets, and the temporal layers that were trained for them."""
