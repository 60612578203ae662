"""Colour conversion against the formulas of ITU-T H.273; scene cuts and repeats against known pictures."""
import av
import cv2
import numpy as np
import pytest
import torch
from video_files import from_bgr, moving_picture

from common.errors import UserError
from media.video import colour, scene_cuts
from media.video.codecs import choose_encoding
from media.video.encode import padded_size
from media.video.packing import Packing

FORMATS = [("yuv420p", 8), ("yuv422p", 8), ("yuv444p", 8), ("nv12", 8), ("yuv420p10le", 10), ("yuv422p10le", 10),
           ("yuv444p12le", 12)]


def codes(blue, green, red, kr, kb, bits, full):
    """Y, Cb, Cr of a colour in 0..1, in full and limited range."""
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    if full:
        return [value * (2**bits - 1) + shift for value, shift in ((luma, 0), (cb, 2**(bits - 1)), (cr, 2**(bits - 1)))]
    unit = 2**(bits - 8)
    return [(16 + 219 * luma) * unit, (128 + 224 * cb) * unit, (128 + 224 * cr) * unit]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix, kr, kb", [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (9, 0.2627, 0.0593)])
def test_codes_are_those_of_the_standard(matrix, kr, kb, full):
    described = colour.Colour(matrix, full)
    random = np.random.default_rng(0)
    for pix_fmt, bits in FORMATS:
        for width, height in ((16, 10), (9, 7)):
            dtype = np.uint8 if bits == 8 else np.uint16
            peak = np.iinfo(dtype).max
            picture = np.empty((height, width, 3), dtype)
            picture[:] = random.integers(0, peak + 1, 3)
            frame = from_bgr(picture, pix_fmt, described)
            assert frame.format.name == pix_fmt
            planar = frame.reformat(format="yuv420p") if pix_fmt == "nv12" else frame
            stored = [plane[-1, -1] for plane in colour.samples(planar)]
            expected = np.clip(codes(*picture[0, 0] / peak, kr, kb, bits, full), 0, 2**bits - 1)
            assert np.abs(stored - expected).max() <= 0.51, (pix_fmt, stored, expected)
            back = colour.to_bgr(frame, described).astype(int)
            # A code value of 10 bits is 64 of 65535 (limited range: 75), chroma counts up to 1.9 times.
            assert np.abs(back - picture).max() <= (1 if bits == 8 else 2**(16 - bits) * 2), pix_fmt
            assert (frame.colorspace, frame.color_range) == (matrix, 2 if full else 1)


def test_every_colour_gets_the_nearest_code():
    picture = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    for matrix, kr, kb in ((1, 0.2126, 0.0722), (6, 0.299, 0.114)):
        stored = colour.samples(from_bgr(picture, "yuv444p", colour.Colour(matrix, False)))
        for plane, expected in zip(stored, codes(*np.moveaxis(picture / 255, 2, 0), kr, kb, 8, False)):
            assert np.abs(plane - expected).max() <= 0.51


@pytest.mark.parametrize("dtype, pix_fmt, bits, error", [(np.uint8, "yuv420p", 8, 0.006), (np.uint8, "nv12", 8, 0.006),
                                                         (np.uint16, "yuv420p10le", 10, 1e-4),
                                                         (np.uint16, "p010le", 10, 1e-4),
                                                         (np.uint8, "yuv420p10le", 10, 1e-4)])
def test_halved_chroma_against_a_plain_loop(dtype, pix_fmt, bits, error):
    """Rounded codes, then 1-2-1 over the columns and the mean of two rows, the ends repeated, halves up."""
    peak = np.iinfo(dtype).max
    picture = np.random.default_rng(0).integers(0, peak + 1, (7, 9, 3)).astype(dtype)
    exact = np.stack(codes(*np.moveaxis(picture / peak, 2, 0), 0.2126, 0.0722, bits, False))
    sure = np.abs(exact % 1 - 0.5) > error  # coefficients have only so many digits
    full = np.floor(exact + 0.5).astype(int)
    stored = [plane.astype(int) for plane in colour.samples(from_bgr(picture, pix_fmt, colour.Colour(1, False)))]
    if len(stored) == 2:
        luma, both = stored
        stored = [luma[:, :9], both[:, 0:10:2], both[:, 1:10:2]]
    if pix_fmt == "p010le":
        assert all((plane % 64 == 0).all() for plane in stored)
        stored = [plane // 64 for plane in stored]
    assert (stored[0] == full[0])[sure[0]].all() and sure.mean() > 0.9
    for plane, whole, certain in zip(stored[1:], full[1:], sure[1:]):
        assert plane.shape == (4, 5)
        for y, x in np.ndindex(4, 5):
            rows, columns = [2 * y, min(2 * y + 1, 6)], [max(2 * x - 1, 0), 2 * x, 2 * x, min(2 * x + 1, 8)]
            if certain[np.ix_(rows, columns)].all():
                assert plane[y, x] == (whole[np.ix_(rows, columns)].sum() + 4) // 8


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p", "gray", "gbrp"])
def test_strips_of_a_frame_are_the_frame(pix_fmt):
    packing = Packing(pix_fmt, colour.Colour(1, False), 9, 7)
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 7, 9))).float()
    whole = packing.planes(frames, 255)
    strips = zip(*(packing.planes(frames[:, :, top:bottom], 255) for top, bottom in ((0, 2), (2, 6), (6, 7))))
    assert all(torch.equal(plane, torch.cat(parts, 1)) for plane, parts in zip(whole, strips, strict=True))


def test_smaller_frames_get_their_end_repeated():
    packing = Packing("yuv420p", colour.Colour(1, False), 10, 8)
    picture = moving_picture(0, 9, 7)
    padded = from_bgr(np.pad(picture, ((0, 1), (0, 1), (0, 0)), mode="edge"), "yuv420p", colour.Colour(1, False))
    assert all((a == b).all() for a, b in zip(colour.samples(packing.image(picture)), colour.samples(padded)))


def test_chroma_does_not_wander():
    """A colour edge goes to 4:2:0 and back without moving: its centre of mass stays."""
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, 11:] = (40, 60, 220)
    picture[:, :11] = (40, 120, 70)
    described = colour.Colour(1, False)
    for turn in (lambda x: x, lambda x: np.ascontiguousarray(x.transpose(1, 0, 2))):
        start = turn(picture)
        back = colour.to_bgr(from_bgr(start, "yuv420p", described), described)
        assert np.abs(back.astype(float).mean((0, 1)) - start.mean((0, 1))).max() < 2
        assert np.abs(back.astype(int) - start)[:8, :8].max() <= 2


def test_gray_and_rgb_formats():
    described = colour.Colour(1, True)
    picture = np.repeat(np.arange(60, dtype=np.uint8).reshape(6, 10, 1) * 4, 3, 2)
    gray = from_bgr(picture, "gray", described)
    assert np.abs(colour.to_bgr(gray, described).astype(int) - picture).max() <= 1
    rgb = from_bgr(picture, "gbrp", described)
    assert (colour.to_bgr(rgb, described) == picture).all()


def test_depths():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, -1, 1).repeat(3, 2)
    wide = from_bgr(ramp, "bgr48le", colour.Colour(1, False)).to_ndarray()
    assert wide.dtype == np.uint16 and (wide == ramp * 257.0).all()
    for off in (-128, 0, 128):  # half a step away is rounded to it
        near = np.clip(wide.astype(int) + off, 0, 65535).astype(np.uint16)
        assert (from_bgr(near, "bgr24", colour.Colour(1, False)).to_ndarray() == ramp).all()
    assert colour.depth_of(av.VideoFormat("yuva444p12le")) == 12 and colour.has_alpha(av.VideoFormat("yuva444p12le"))


def test_padding_follows_the_chroma():
    assert padded_size(33, 21, "yuv420p") == (34, 22)
    assert padded_size(33, 21, "yuv422p10le") == (34, 21)
    assert padded_size(33, 21, "yuv444p") == padded_size(33, 21, "gbrp") == (33, 21)


def test_encoder_choice():
    assert dict(choose_encoding().options)["crf"] == "16" and choose_encoding().pix_fmt == "yuv420p"
    assert choose_encoding(depth=10).pix_fmt == "yuv420p10le"
    assert choose_encoding("prores").pix_fmt == "yuv422p10le"
    assert choose_encoding("mpeg4", depth=10).pix_fmt == "yuv420p"
    assert choose_encoding("libx264", crf=20, preset="fast").options == \
        (("crf", "20"), ("mbtree", "0"), ("preset", "fast"))
    for wrong in ({"codec": "nope"}, {"codec": "aac"}, {"codec": "png"}, {"pix_fmt": "yuv999"},
                  {"codec": "prores", "crf": 3}):
        with pytest.raises(UserError):
            choose_encoding(**wrong)


def found(pictures, threshold=scene_cuts.DEFAULT_THRESHOLD):
    planes = [[cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)] for picture in pictures]
    return list(scene_cuts.relations(planes, threshold, 8))


def test_cut_is_found_and_motion_is_not():
    pictures = [moving_picture(2 * k) for k in range(4)] + [moving_picture(2 * k, seed=1) for k in range(4)]
    assert [relation.is_cut for relation in found(pictures)] == [k == 4 for k in range(8)]
    assert not any(relation.is_cut for relation in found(pictures, threshold=1))


def test_fade_to_black_is_no_cut_but_a_black_frame_is():
    picture = moving_picture(0)
    fade = [(picture * (1 - k / 12)).astype(np.uint8) for k in range(13)]
    assert not any(relation.is_cut for relation in found(fade))
    assert [relation.is_cut for relation in found([picture, picture * 0, picture])] == [False, True, True]


def test_repeats_allow_rounding_noise_but_no_creeping():
    still = moving_picture(0).clip(10, 200)
    noisy = still + (np.random.default_rng(1).random(still.shape[:2] + (1,)) < 0.5).astype(np.uint8)
    assert [relation.repeats for relation in found([still, noisy, still, still + 5])] == [None, 0, 0, None]
    assert [relation.repeats for relation in found([still + k for k in range(5)])] == [None, 0, None, 2, None]
    dot = still.copy()
    dot[5, 5] += 30
    assert found([still, dot])[1].repeats is None
