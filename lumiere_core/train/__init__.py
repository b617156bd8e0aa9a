"""How the bundled weights are made and judged: stages, the loop, the probe, the evaluation."""
