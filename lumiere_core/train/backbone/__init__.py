"""Training the temporal layers of a public image model of one's own, on a folder of clips with captions."""
