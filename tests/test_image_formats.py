"""Image files as people have them: depths, alpha, orientation and profiles, against Pillow, PyAV and closed forms."""
import io
import struct
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from common.errors import UserError
from media.image import load_image, read_bgr, read_image, write_image
from media.image_header import ColourTag
from media.video.decode import VideoSource
from media.video.image_sequence import ImageSequence

RGBA = cv2.resize(np.random.default_rng(3).integers(0, 256, (5, 7, 4), dtype=np.uint8), (40, 32))
RGBA[:9, :9, 3] = 0
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("maxval", [1, 7, 15, 100, 255, 256, 1023, 4095, 16383, 65535])
def test_netpbm_of_any_maxval_fills_its_range(tmp_path, maxval):
    values = np.unique(np.linspace(0, maxval, 12).astype(int))
    top = 255 if maxval < 256 else 65535
    raw = values.astype(np.uint8 if maxval < 256 else ">u2").tobytes()
    size = f"{len(values)} 1"
    pam = f"P7\nWIDTH {len(values)}\nHEIGHT 1\nDEPTH 1\nMAXVAL {maxval}\nTUPLTYPE GRAYSCALE\nENDHDR\n"
    text = " ".join(map(str, values)) + "\n"
    for name, content in (("binary.pgm", f"P5\n# by hand\n{size}\n{maxval}\n".encode() + raw),
                          ("a.pam", pam.encode() + raw), ("plain.pgm", f"P2 {size} {maxval}\n{text}".encode())):
        if name == "a.pam" and maxval == 1:
            continue  # OpenCV takes it for packed bits
        (tmp_path / name).write_bytes(content)
        image = read_image(tmp_path / name)
        assert image.dtype == (np.uint8 if maxval < 256 else np.uint16)
        assert np.abs(image[0] - values * (top / maxval)).max() < 1  # OpenCV itself rounds plain text down
        assert image[0, -1] == top


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif_fills_16_bits(tmp_path, bits):
    ramp = np.tile(np.linspace(0, 2**bits - 1, 64).astype(np.uint16), (32, 1))
    options = [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 100]
    (tmp_path / "a.avif").write_bytes(cv2.imencode(".avif", np.dstack([ramp] * 3), options)[1].tobytes())
    image = read_image(tmp_path / "a.avif")
    assert image.dtype == np.uint16
    assert np.abs(image - ramp[..., None] * (65535 / (2**bits - 1))).max() < 600  # the compression's error
    assert np.abs(read_bgr(tmp_path / "a.avif") - ramp[..., None] * (255 / (2**bits - 1))).max() < 3


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_jpeg_2000_of_any_depth_fills_16_bits(tmp_path, bits):
    ramp = np.tile(np.linspace(0, 2**bits - 1, 64).astype(np.uint16), (32, 1))
    encoder = av.CodecContext.create("jpeg2000", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 32, f"gray{bits}le", Fraction(1)
    frame = av.VideoFrame(64, 32, f"gray{bits}le")
    frame.planes[0].update(ramp.tobytes())
    (tmp_path / "a.jp2").write_bytes(b"".join(map(bytes, encoder.encode(frame) + encoder.encode(None))))
    image = read_image(tmp_path / "a.jp2")
    assert image.dtype == np.uint16
    assert np.abs(image - ramp * (65535 / (2**bits - 1))).max() < 300


@pytest.mark.parametrize("bits,samples", [(2, 1), (4, 1), (10, 1), (12, 1), (14, 1), (12, 3)])
def test_tiff_of_unusual_depth(tmp_path, bits, samples):
    values = [value for value in (0, 1, 2**bits // 2, 2**bits - 1) for _ in range(samples)]
    packed = int("".join(format(value, f"0{bits}b") for value in values), 2).to_bytes(bits * samples // 2, "big")
    depths = struct.pack("<3H", bits, bits, bits)  # at byte 8, for three samples
    tags = [(256, 4, 1, 4), (257, 4, 1, 1), (258, 3, samples, bits if samples == 1 else 8), (259, 3, 1, 1),
            (262, 3, 1, 1 if samples == 1 else 2), (273, 4, 1, 14), (277, 3, 1, samples), (278, 4, 1, 1),
            (279, 4, 1, len(packed))]
    head = b"II*\0" + struct.pack("<I", 14 + len(packed)) + depths + packed
    (tmp_path / "a.tif").write_bytes(head + struct.pack("<H", len(tags))
                                     + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4))
    image = read_image(tmp_path / "a.tif")
    top = np.iinfo(image.dtype).max
    np.testing.assert_array_equal(image[0].ravel(), np.rint(np.array(values) * (top / (2**bits - 1))))


def test_heic_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(UserError, match="a.heic: HEIC .*save it as"):
        read_image(tmp_path / "a.heic")


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_gray_png_with_a_transparent_gray(tmp_path, depth):
    values = [0, 1, 1, 0]
    bits = "".join(format(value, f"0{depth}b") for value in values).ljust(8, "0")
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = struct.pack(">IIBBBBB", 4, 1, depth, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
                                     + png_chunk(b"tRNS", struct.pack(">H", 1))
                                     + png_chunk(b"IDAT", zlib.compress(row)) + png_chunk(b"IEND", b""))
    image = read_image(tmp_path / "a.png")
    top = 65535 if depth == 16 else 255
    gray = np.array(values) * (1 if depth >= 8 else 255 // (2**depth - 1))
    np.testing.assert_array_equal(image[0], np.stack([gray, gray, gray, [top, 0, 0, top]], 1))


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.bmp", "a.tif", "a.jp2", "la.png", "la.tif", "la.jp2"])
def test_alpha_and_the_colours_below_it_are_kept(tmp_path, name):
    pixels = RGBA if name[0] == "a" else np.dstack([RGBA[..., 0], RGBA[..., 3]])
    Image.fromarray(pixels).save(tmp_path / name, **({"lossless": True, "exact": True} if "webp" in name else {}))
    expected = RGBA[..., [2, 1, 0, 3]] if name[0] == "a" else RGBA[..., [0, 0, 0, 3]]
    np.testing.assert_array_equal(read_image(tmp_path / name), expected)


def test_bitmaps_whose_fourth_byte_is_unused_have_no_alpha(tmp_path):
    Image.fromarray(np.dstack([RGBA[..., :3], np.zeros_like(RGBA[..., 3])])).save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), RGBA[..., 2::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "webp", "avif", "jpeg", "tiff"])
def test_every_orientation_is_turned_upright(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{kind}"
    Image.fromarray(RGBA[..., :3]).save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))[..., ::-1]
    found = read_image(path)
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 2  # decoders of lossy formats differ a little
    if kind != "tiff":  # its decoder turns it always
        assert read_bgr(path).shape == (32, 40, 3)


@pytest.mark.parametrize("kind", ["png", "webp", "avif", "jpeg", "tiff"])
def test_profiles_are_read_and_written(tmp_path, kind):
    Image.fromarray(RGBA[..., :3]).save(tmp_path / f"a.{kind}", icc_profile=PROFILE)
    image = load_image(tmp_path / f"a.{kind}")
    assert image.colour == ColourTag(b"iCCP", PROFILE) and not image.notes
    write_image(tmp_path / "b.png", image.pixels, image.colour)
    with Image.open(tmp_path / "b.png") as again:
        assert again.info["icc_profile"] == PROFILE
        np.testing.assert_array_equal(np.asarray(again)[..., ::-1], image.pixels)
    with pytest.raises(UserError, match="b.webp"):
        write_image(tmp_path / "b.webp", image.pixels, image.colour)


def test_a_profile_that_a_video_cannot_keep_is_said(tmp_path):
    Image.fromarray(RGBA[..., :3]).save(tmp_path / "1.png", icc_profile=PROFILE)
    assert any("profile" in note for note in ImageSequence(tmp_path, Fraction(25)).notes)


def test_profiles_that_do_not_fit_the_pixels_are_left_out_with_a_note(tmp_path):
    cmyk = PROFILE[:16] + b"CMYK" + PROFILE[20:]
    Image.fromarray(RGBA).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=cmyk)
    image = load_image(tmp_path / "a.jpg")
    assert image.colour is None and image.pixels.shape == (32, 40, 3)
    assert "a.jpg" in image.notes[0] and "CMYK" in image.notes[0]


def test_code_points_of_hdr_images_are_kept(tmp_path):
    tag = ColourTag(b"cICP", bytes([9, 16, 0, 1]))  # BT.2020 and PQ
    write_image(tmp_path / "a.png", RGBA[..., :3], tag)
    with av.open(str(tmp_path / "a.png")) as file:
        frame = next(file.decode(video=0))
    assert (frame.color_primaries, frame.color_trc) == (9, 16)
    assert load_image(tmp_path / "a.png").colour == tag
    write_image(tmp_path / "b.png", RGBA[..., :3], ColourTag(b"cICP", bytes([1, 13, 0, 1])))  # sRGB needs no word
    assert load_image(tmp_path / "b.png").colour is None


def test_code_points_of_avif_are_found(tmp_path):
    encoded = cv2.imencode(".avif", RGBA[..., :3])[1].tobytes()
    place = encoded.index(b"colrnclx") + 8
    (tmp_path / "a.avif").write_bytes(encoded[:place] + struct.pack(">HH", 9, 16) + encoded[place + 4:])
    assert load_image(tmp_path / "a.avif").colour == ColourTag(b"cICP", bytes([9, 16, 0, 1]))


def test_an_animated_webp_as_a_video_is_refused_with_the_reason(tmp_path):
    first, *others = [Image.fromarray(np.roll(RGBA, shift, 1)) for shift in range(3)]
    first.save(tmp_path / "a.webp", save_all=True, append_images=others)
    with pytest.raises(UserError, match="a.webp.*animated WebP"):
        VideoSource(tmp_path / "a.webp")


@pytest.mark.parametrize("kind", ["webp", "gif", "png", "avif"])
def test_animations_are_refused_with_the_reason(tmp_path, kind):
    first, *others = [Image.fromarray(np.roll(RGBA, shift, 1)) for shift in range(3)]
    first.save(tmp_path / f"a.{kind}", save_all=True, append_images=others)
    with pytest.raises(UserError, match=f"a.{kind}.*animation of 3 frames"):
        read_image(tmp_path / f"a.{kind}")


def test_pages_and_odd_headers(tmp_path):
    pages = [Image.fromarray(np.roll(RGBA[..., :3], shift, 1)) for shift in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    image = load_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, RGBA[..., 2::-1])
    assert "first of 2 pages" in image.notes[0]
    encoded = io.BytesIO()
    pages[0].save(encoded, "png")
    whole = encoded.getvalue()
    (tmp_path / "b.png").write_bytes(whole[:33] + png_chunk(b"eXIf", b"MM\0*\0\0") + whole[33:])  # cut short
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), RGBA[..., 2::-1])
