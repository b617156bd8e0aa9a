"""Lumiere for ComfyUI: a whole clip in one pass. Importing this module loads nothing heavy."""

WEB_DIRECTORY = "./js"


async def comfy_entrypoint():
    from .nodes import LumiereExtension

    return LumiereExtension()
