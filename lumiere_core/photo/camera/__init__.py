"""A camera that moves over a photo: slow zooms and pans, with parallax where a depth picture is given."""
