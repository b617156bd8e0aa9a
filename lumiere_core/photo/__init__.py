"""Tools for photos and finished clips. They need no model: nothing in here imports one."""
