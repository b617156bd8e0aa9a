"""Messages on a node while it runs, and the check whether the user has cancelled."""

from __future__ import annotations

import logging
import re
from typing import Any

import comfy.model_management


def check_interrupt() -> None:
    """Raises in it what ends a run, where the artist has cancelled."""
    comfy.model_management.throw_exception_if_processing_interrupted()


def show_here(text: str) -> None:
    """Show a sentence on the node that is running."""
    try:
        from server import PromptServer

        show_text(PromptServer.instance.last_node_id, text)
    except (ImportError, AttributeError):
        logging.warning("Lumiere: %s", text)


def say_its_length(count: int, asked: int) -> None:
    """Say on the node that a clip's own length stands, where another one was asked for."""
    if count != asked:
        show_here(f"The clip has {count} frames, so it keeps {count} (frames is {asked}).")


def show_text(node_id: Any, text: str) -> None:
    """Show a sentence on a node, until the next one. Hosts without that get it in their log."""
    try:
        from server import PromptServer

        PromptServer.instance.send_progress_text(as_text(text), str(node_id))
    except (ImportError, AttributeError):
        logging.info("Lumiere: %s", text)


def as_text(words: str) -> str:
    """Words as a frontend shows them letter by letter: every sign becomes its HTML number.

    Frontends take progress text for HTML, up to 1.35 with its scripts, and make links of addresses and of `[[a|b]]`;
    but prompts in it come from graphs, which people share.
    """
    return re.sub(r"[^\w\s]|_", lambda sign: f"&#{ord(sign[0])};", words)
