"""The `clip` command: loops, cinemagraphs, painted motion, overlays and camera moves from the artist's own files."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from .terminal import TerminalBar, add_command, add_output, number

if TYPE_CHECKING:  # torch and OpenCV are imported where they are used: help comes at once
    from torch import Tensor

    from ..media.frames import Frames, Rendered
    from ..media.video import Sound, VideoFile

HOW = "auto takes the way whose join shows least: per pixel, cut, crossfade, dissolve, ping-pong"
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
LONGEST_TEXT = 2**26  # bytes of a file of strokes: twice what 200 strokes of 10,000 points are
VARIATION = ("--variation", "--seed")  # the nodes' word, and the one before
HOW_LONG = "how long the loop is: frames (48) or seconds (3s); 0 is what loops best"


def open_picture(path: str) -> Tensor:
    """A picture file as `(H, W, 3)` in [0, 1]."""
    import torch

    from ..media.pictures import read_image

    return torch.from_numpy(read_image(path)).float() / 255


def open_mask(path: str) -> Tensor:
    """A picture file as a mask `(H, W)` in [0, 1]: white moves, or what is transparent."""
    import torch

    from ..media.pictures import read_mask

    return torch.from_numpy(read_mask(path))


def still_file(args: argparse.Namespace) -> str | None:
    """The picture that `--still` names, if it names one; a picture called 7 is ./7."""
    named = getattr(args, "still", "auto")
    return None if named == "auto" or named.isdecimal() else named


def still_of(args: argparse.Namespace) -> Tensor | int | None:
    """The still: a picture, a frame's number, or None for auto."""
    file = still_file(args)
    if file is not None:
        return open_picture(file)
    number_of_frame = args.still_frame if args.still == "auto" else int(args.still)
    return number_of_frame if number_of_frame >= 0 else None


def write_loop(args: argparse.Namespace, made: Rendered, facts: dict, clip: VideoFile | None = None) -> None:
    """Write frames as they come, at args.fps or their own rate, with the clip's sound where it goes with them.

    What a model once made stays marked as such, also where only the photo or the still was.
    """
    from ..media.files import describe, mark_of, write_frames
    from ..media.frames import as_bytes, told

    fps = made.fps if args.fps is None else args.fps
    facts = {**facts, "source": Path(args.source).name, "fps": fps, "version": __version__}
    mark = mark_of(args.source, still_file(args))
    pixels = told(map(as_bytes, made), made.count, "writing", TerminalBar())
    sound, silent = sound_for(args.out, made, fps, clip) if clip else (None, "")
    path = write_frames(args.out, pixels, fps, describe(facts, mark), sound, args.overwrite)
    size = made.width, made.height
    if path.suffix.lower() in (".mp4", ".webm"):
        size = tuple(n + n % 2 for n in size)  # what such files hold
    print(f"wrote {path}: {made.count} frames of {size[0]}x{size[1]} at {fps:g} fps{silent}")


def sound_for(out: str, made: Rendered, fps: float, clip: VideoFile) -> tuple[Sound | None, str]:
    """The clip's sound as it goes with what is made of it, and what is said where it cannot."""
    from ..media.files import keeps_sound

    if clip.sound() is None:
        return None, ""
    if not keeps_sound(out):
        return None, f", without the sound: {Path(out).suffix or 'a folder'} has none"
    if made.heard is None:
        return None, ", without the sound: such a loop has no time of its own"
    if abs(fps / clip.fps - 1) > 1e-3:
        return None, ", without the sound: the clip has another speed"
    return clip.sound(made.heard / clip.fps), ""


def loop_file(args: argparse.Namespace) -> None:
    """Make a loop from a clip."""
    from ..photo.loops.ways import loop_kind, loop_length, make_loop

    clip = open_clip(args)
    settings = loop_kind(args.how).own(
        length=loop_length(args.length, clip.fps),
        min_frames=args.min_frames,
        max_frames=args.max_frames,
        overlap=args.overlap,
    )
    made = make_loop(clip, args.how, TerminalBar(), **settings)
    print(made.said)
    write_loop(args, made, {"tool": "loop", "how": args.how, **settings}, clip)


def cinemagraph_file(args: argparse.Namespace) -> None:
    """Keep a clip still except in the white part of a mask, in a loop."""
    from ..photo.cinemagraph import cinemagraph_from_clip
    from ..photo.loops.ways import loop_length

    clip = open_clip(args, args.mask, still_file(args))
    moves, still = open_mask(args.mask), still_of(args)
    settings: dict[str, Any] = {
        "feather": args.feather,
        "stabilise": args.stabilise,
        "drift": args.drift,
        "loop": args.loop,
        "motion": args.motion,
        "length": loop_length(args.length, clip.fps),
    }
    made = cinemagraph_from_clip(clip, moves, still, **settings, progress=TerminalBar())
    print(made.said)
    write_loop(args, made, {"tool": "cinemagraph", **settings}, clip)


def open_clip(args: argparse.Namespace, *inputs: str | None) -> VideoFile:
    """The clip that is worked on; where the result cannot be written, that is said before the work."""
    from ..media.files import check_clip
    from ..media.video import VideoFile

    inputs = args.source, *inputs
    check_clip(args.out, 16 if args.fps is None else args.fps, *inputs, overwrite=args.overwrite)
    clip = VideoFile(args.source)
    check_clip(args.out, clip.fps if args.fps is None else args.fps, *inputs, overwrite=args.overwrite)
    return clip


def brush_file(args: argparse.Namespace) -> None:
    """Move the part of a photo that is white in a mask, in a loop."""
    from ..media.files import check_clip
    from ..photo.brush import Brush, brushed_frames
    from ..photo.strokes import drawing_with_path

    inputs = [args.source, args.mask, *([args.strokes] if args.strokes else [])]
    check_clip(args.out, args.fps, *inputs, overwrite=args.overwrite)
    photo = open_picture(args.source)
    height, width = photo.shape[:2]
    drawn = read_text(args.strokes) if args.strokes else ""
    drawing = drawing_with_path(drawn, " ".join(args.path), width, height, args.strokes or "strokes")
    brush = Brush(args.preset, args.direction, args.speed, drawing, args.motion, args.edge, args.seed)
    made = brushed_frames(photo, open_mask(args.mask), brush, args.frames, args.fps)
    write_loop(args, made, {"tool": "brush", **dataclasses.asdict(brush)})


def overlay_file(args: argparse.Namespace) -> None:
    """Lay steam, mist, rain, snow, sparks or light rays over a photo or clip, in a loop."""
    from ..photo.overlays.air import Overlay
    from ..photo.overlays.overlay import check_overlay, overlaid_frames

    overlay = Overlay(args.kind, args.amount, args.speed, args.size, args.wind, args.tint, args.seed)
    check_overlay(overlay, args.frames)
    source, video = open_either(args, args.mask, args.matte)
    mask = open_mask(args.mask) if args.mask else None
    matte = open_mask(args.matte)[None] if args.matte else None
    made = overlaid_frames(source, overlay, args.frames, mask, matte)
    write_loop(args, made, {"tool": "overlay", **dataclasses.asdict(overlay)}, video)


def move_file(args: argparse.Namespace) -> None:
    """Move a slow camera over a photo or clip."""
    from ..photo.camera.move import CameraMove, check_move, moved_frames

    move = CameraMove(args.move, args.path, args.amount, args.parallax)
    check_move(move, args.frames)
    source, video = open_either(args, args.depth)
    depth = open_mask(args.depth)[None] if args.depth else None
    made = moved_frames(source, move, args.frames, depth, args.depth_white == "near")
    if made.said:
        print(made.said)
    write_loop(args, made, {"tool": "move", **dataclasses.asdict(move)}, video)


def open_either(args: argparse.Namespace, *inputs: str | None) -> tuple[Frames, VideoFile | None]:
    """A photo as a clip of one frame, or a clip and its file; see `open_clip`."""
    if Path(args.source).suffix.lower() not in PICTURES:
        clip = open_clip(args, *inputs)
        return clip, clip
    from ..media.files import check_clip
    from ..media.frames import TensorFrames

    args.fps = 16.0 if args.fps is None else args.fps
    check_clip(args.out, args.fps, args.source, *inputs, overwrite=args.overwrite)
    return TensorFrames(open_picture(args.source)[None], args.fps), None


def read_text(path: str) -> str:
    """A text file. Raises ValueError for what cannot be read as text."""
    file = Path(path)
    try:
        if file.exists() and not file.is_file():
            raise ValueError(f"{path} cannot be read as text: it is a folder, or no ordinary file.")
        if (size := file.stat().st_size) > LONGEST_TEXT:
            raise ValueError(
                f"{path} cannot be read as text: it has {size} bytes, but strokes take at most {LONGEST_TEXT}."
            )
        return file.read_text(encoding="utf-8-sig")  # some editors begin a text with a mark of their own
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}.") from None
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{path} cannot be read as text.") from None


def in_little_memory(run: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """Run a tool that works picture by picture."""
    from ..media.memory import free_at_once

    free_at_once()
    run(args)


def loop_options(t: argparse.ArgumentParser) -> None:
    """Add what `clip loop` is told: how a clip is made to loop."""
    t.add_argument("--how", default="auto", help=HOW)
    t.add_argument("--length", default="0", help=HOW_LONG)
    t.add_argument(
        "--min-frames",
        type=number(int, "min_frames"),
        default=16,
        help="for cut: the shortest loop, in frames",
    )
    t.add_argument(
        "--max-frames",
        type=number(int, "max_frames"),
        default=0,
        help="for cut: the longest loop, in frames; 0 is any length",
    )
    t.add_argument(
        "--overlap",
        type=number(int, "loop.overlap"),
        default=8,
        help="for crossfade and dissolve: how many frames the blend takes",
    )
    t.add_argument(
        "--fps", type=number(float, "file.fps"), help="frames per second; the clip's own by default"
    )


def cinemagraph_options(t: argparse.ArgumentParser) -> None:
    """Add what `clip cinemagraph` is told: what moves and what is still."""
    t.add_argument("--mask", required=True, help="a picture, white where the clip moves; grey moves less")
    t.add_argument(
        "--still",
        default="auto",
        help="a picture; auto is what --still-frame says (a frame's number is taken as well)",
    )
    t.add_argument(
        "--still-frame",
        type=number(int, "still_frame"),
        default=-1,
        help="without a picture: the number of the frame to use, from 0; -1 is auto, the sharpest without people who "
        "walk through",
    )
    t.add_argument(
        "--feather", type=number(float, "feather"), default=8, help="soft edge in pixels, inside the mask"
    )
    t.add_argument(
        "--stabilise",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="steady the camera, if that makes it steadier",
    )
    t.add_argument(
        "--drift",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="remove slow colour drift, if there is any",
    )
    t.add_argument("--loop", default="auto", help=f"{HOW}, or none")
    t.add_argument("--length", default="0", help=HOW_LONG)
    t.add_argument("--motion", type=number(float, "motion"), default=1.0, help="how much moves, 0 to 1")
    t.add_argument(
        "--fps", type=number(float, "file.fps"), help="frames per second; the clip's own by default"
    )


def brush_options(t: argparse.ArgumentParser) -> None:
    """Add what `clip brush` is told: what moves in a photo, and how."""
    t.add_argument("--mask", required=True, help="a picture, white where the photo moves; grey moves less")
    t.add_argument("--preset", default="flow", help="drift, flow, ripple, sway or flicker")
    t.add_argument(
        "--direction",
        type=number(float, "any.direction"),
        help="degrees, 0 is right, 90 is up; the preset's own by default",
    )
    t.add_argument(
        "--speed",
        type=number(float, "speed"),
        help="photo widths per second (drift, flow), else cycles per second",
    )
    t.add_argument(
        "--path",
        nargs="+",
        default=(),
        help="points x,y in shares of the photo, which the motion follows in place of a direction",
    )
    t.add_argument(
        "--strokes",
        metavar="FILE",
        help="strokes and anchors as JSON, as the Motion Brush node has them, or a spline editor's points",
    )
    t.add_argument(
        "--motion",
        type=number(float, "brush.motion"),
        default=1.0,
        help="0 is none, 1 the preset's own strength, up to 4",
    )
    t.add_argument(
        "--edge",
        type=number(float, "edge"),
        default=0.03,
        help="distance inside the mask over which motion grows from zero, in photo widths",
    )
    t.add_argument(
        *VARIATION,
        dest="seed",
        type=number(int, "brush.seed", "variation"),
        default=0,
        help="another one gives other waves",
    )
    t.add_argument("--frames", type=number(int, "film.loop.frames"), default=80, help="frames of the loop")
    t.add_argument("--fps", type=number(float, "file.fps"), default=16, help="frames per second")


def overlay_options(t: argparse.ArgumentParser) -> None:
    """Add what `clip overlay` is told: what is laid over."""
    t.add_argument("--kind", default="steam", help="steam, mist, rain, snow, sparks or rays")
    t.add_argument(
        "--mask", help="a picture, white where steam and sparks rise from, or where the others are seen"
    )
    t.add_argument("--matte", help="a picture, white where something stands before the overlay")
    t.add_argument(
        "--amount", type=number(float, "overlay.amount"), default=1.0, help="how much of it, 0 to 4"
    )
    t.add_argument("--speed", type=number(float, "overlay.speed"), default=1.0, help="2 is twice as fast")
    t.add_argument("--size", type=number(float, "overlay.size"), default=1.0, help="2 is twice as large")
    t.add_argument(
        "--wind", type=number(float, "wind"), default=0.2, help="below 0 to the left, above to the right"
    )
    t.add_argument("--tint", default="", help="a colour as #rrggbb; the kind's own by default")
    t.add_argument(
        *VARIATION,
        dest="seed",
        type=number(int, "brush.seed", "variation"),
        default=0,
        help="another one gives other swirls",
    )
    t.add_argument(
        "--frames", type=number(int, "film.loop.frames"), default=80, help="frames of the loop over a photo"
    )
    t.add_argument(
        "--fps", type=number(float, "file.fps"), help="frames per second; 16, or the clip's own, by default"
    )


def move_options(t: argparse.ArgumentParser) -> None:
    """Add what `clip move` is told: where the camera goes."""
    t.add_argument(
        "--move",
        default="zoom in",
        help='"zoom in", "zoom out", "pan left", "pan right", "pan up", "pan down" or circle',
    )
    t.add_argument("--path", default="there and back", help='"there and back" (a loop) or "one way"')
    t.add_argument(
        "--amount", type=number(float, "camera.amount"), default=0.1, help="how far, 0.1 is 10 percent"
    )
    t.add_argument("--depth", help="a depth picture of any size: near things then move more than far ones")
    t.add_argument(
        "--depth-white", default="near", choices=("near", "far"), help="what white means in the depth picture"
    )
    t.add_argument(
        "--white-is-far", dest="depth_white", action="store_const", const="far", help="the same as far"
    )
    t.add_argument(
        "--parallax",
        type=number(float, "parallax"),
        default=1.0,
        help="with depth: how much more near things move, 0 to 2",
    )
    t.add_argument(
        "--frames", type=number(int, "film.loop.frames"), default=80, help="frames of the move over a photo"
    )
    t.add_argument(
        "--fps", type=number(float, "file.fps"), help="frames per second; 16, or the clip's own, by default"
    )


# What each tool does, what it is given, and its options.
TOOLS: dict[
    str, tuple[Callable[[argparse.Namespace], None], str, Callable[[argparse.ArgumentParser], None]]
] = {
    "loop": (loop_file, "a video file", loop_options),
    "cinemagraph": (cinemagraph_file, "a video file", cinemagraph_options),
    "brush": (brush_file, "a photo", brush_options),
    "overlay": (overlay_file, "a photo or a video file", overlay_options),
    "move": (move_file, "a photo or a video file", move_options),
}


def register(commands: Any) -> None:
    """Add `clip loop|cinemagraph|brush|overlay|move`."""
    described = "tools that need no model: " + ", ".join(TOOLS)
    tools = commands.add_parser("clip", help=described, description=described).add_subparsers(
        dest="tool", required=True
    )
    for name, (run, source, add_options) in TOOLS.items():
        t = add_command(tools, name, run)
        t.set_defaults(run=partial(in_little_memory, run))
        t.add_argument("source", help=source)
        add_output(t, f"output/{name}.mp4")
        add_options(t)
