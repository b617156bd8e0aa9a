"""All that knows ComfyUI's insides (`comfy.*`, its server), so that a node is only sockets and a sentence."""
