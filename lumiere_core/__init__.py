"""An open PyTorch engine for Lumiere (Bar-Tal et al., arXiv 2401.12945). Runs without ComfyUI; imports nothing here."""

__version__ = "0.1.0"
