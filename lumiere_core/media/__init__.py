"""Files in and out, and what can be measured on a clip."""
