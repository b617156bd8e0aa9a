"""The drawn world: what the bundled models learn from. Imports nothing else of the engine."""
