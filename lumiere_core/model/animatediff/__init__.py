"""AnimateDiff: motion modules for image models, and the files they come in."""
