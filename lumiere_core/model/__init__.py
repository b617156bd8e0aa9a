"""The networks: a 2D U-Net, its inflation to space and time, the text encoder, and weights files."""
