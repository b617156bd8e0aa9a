"""What works with any network: noise levels, samplers, guidance, windows, conditions. Imports no model."""
