"""Nodes for photos: motion, overlays, camera moves, regions. They need no model."""
