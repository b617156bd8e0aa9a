"""Image MODELs that make clips: motion files, our own U-Net over their weights, the x4 upscaler, and training data."""
