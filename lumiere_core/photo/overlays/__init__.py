"""Weather and light made by code, laid over a photo or clip in a loop: steam, mist, rain, snow, sparks, light rays."""
