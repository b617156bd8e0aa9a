"""Pictures by any name, upright, with their depth, and the doors to Pillow and OpenCV."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from lumiere_core.media.pictures import opencv, picture_comment, pillow, read_image, read_mask, write_image

RAMP = np.linspace(0, 1, 48 * 64).reshape(48, 64)


def test_a_picture_is_read_by_any_name_in_rgb(tmp_path):
    path = tmp_path / "caf\u00e9 \u6d77.png"
    pixels = np.random.default_rng(1).integers(0, 256, (80, 100, 3), np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    assert np.array_equal(read_image(path), pixels)


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    for read in (read_image, read_mask):
        with pytest.raises(ValueError, match="a.png cannot be read as a picture"):
            read(tmp_path / "a.png")
        with pytest.raises(ValueError, match="there is no picture"):
            read(tmp_path / "b.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_cut_picture_is_named_as_such(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="cut, or damaged"):
        read_image(path)


def test_a_picture_that_is_far_too_large_is_refused_in_words(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="a.png has too many pixels"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_a_camera_that_was_turned_is_seen_in_pictures_and_masks(tmp_path, read):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    grey = Image.fromarray((RAMP * 255).astype(np.uint8))
    grey.save(tmp_path / "flat.png")
    grey.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read(tmp_path / "turned.png"), np.rot90(read(tmp_path / "flat.png"), -1))


# Masks


def test_a_mask_with_16_bits_keeps_them(tmp_path):
    values = np.round(RAMP * 65535).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name)
        assert np.abs(read_mask(tmp_path / name) - RAMP).max() < 1e-5
        assert np.abs(read_image(tmp_path / name)[..., 1] - RAMP * 255).max() <= 0.51
    assert len(np.unique(read_mask(tmp_path / "a.png"))) == values.size  # 8 bits have 256


def test_a_mask_with_16_bits_and_alpha_is_read_as_opencv_writes_it(tmp_path):
    values = np.round(RAMP * 65535).astype(np.uint16)
    rgba = np.dstack([np.zeros((48, 64, 3), np.uint16), values])
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", rgba)[1].tobytes())
    assert np.abs(read_mask(tmp_path / "a.png") - (1 - RAMP)).max() < 1 / 255


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_moves_in_every_kind_of_picture(tmp_path, mode):
    picture = Image.new("RGBA", (64, 48), (255, 255, 255, 255))
    picture.putalpha(Image.fromarray(np.round(255 * (1 - RAMP)).astype(np.uint8)))
    picture.convert(mode).save(tmp_path / "a.png")
    assert np.abs(read_mask(tmp_path / "a.png") - RAMP).max() <= 0.51 / 255


def test_a_palette_with_a_transparent_colour_moves_there(tmp_path):
    picture = Image.new("P", (64, 48), 1)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.paste(0, (0, 0, 32, 48))
    picture.save(tmp_path / "a.png", transparency=0)
    mask = read_mask(tmp_path / "a.png")
    assert mask[:, :32].min() == 1 and mask[:, 32:].max() == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P"])
def test_what_is_white_moves_where_nothing_is_transparent(tmp_path, mode):
    picture = Image.new("L", (64, 48), 0)
    picture.paste(255, (0, 0, 32, 48))
    (picture.convert("RGB") if mode == "RGBA" else picture).convert(mode).save(tmp_path / "a.png")
    mask = read_mask(tmp_path / "a.png")
    assert mask.dtype == np.float32 and mask[:, :32].min() == 1 and mask[:, 32:].max() == 0


# Out


def test_a_comment_is_read_back_and_a_picture_without_one_has_none(tmp_path):
    said = 'AI-generated. {"prompt": "\u6d77 \u00fc \\" #"}'
    image = np.random.default_rng(1).integers(0, 256, (8, 10, 3), np.uint8)
    path = write_image(tmp_path / "a.png", image, said)
    assert picture_comment(path) == said and np.array_equal(read_image(path), image)
    assert picture_comment(write_image(tmp_path / "b.png", image)) == ""
    Image.fromarray(image).save(tmp_path / "c.jpg", comment=said.encode())
    assert picture_comment(tmp_path / "c.jpg") == said


def test_a_picture_takes_a_number_or_replaces(tmp_path):
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    path = write_image(tmp_path / "new" / "a.png", black)
    assert write_image(path, white).name == "a_00001_.png" and read_image(path).max() == 0
    assert write_image(path, white, overwrite=True) == path and read_image(path).min() == 255


@pytest.mark.parametrize(
    ("door", "module", "package"), [(opencv, "cv2", "opencv-python"), (pillow, "PIL", "pillow")]
)
def test_without_the_package_it_says_what_to_install(monkeypatch, door, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=f"python -m pip install {package}"):
        door()
