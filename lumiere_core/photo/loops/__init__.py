"""Loops: every pixel in its own time, or the clip as a whole."""
