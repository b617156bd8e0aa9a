"""Everything that depends on ComfyUI's internals (`comfy.*`, its server)."""
