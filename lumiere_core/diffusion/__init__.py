"""Around a network: the noise process, samplers, guidance, windows, and what of a clip is known. Knows no model."""
