"""Whole jobs on real little files, with a blending stand-in for the network; the results are decoded back."""
import resource
import struct
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from video_files import (
    BlendPredictor,
    decode,
    end_of,
    from_bgr,
    level_picture,
    levels,
    moving_picture,
    near,
    run,
    times,
    write_levels,
    write_video,
)

from common.errors import UserError
from media.image import read_image
from media.video import colour
from media.video.job import VideoJob
from media.video.options import Options
from model import Predictor, SAFASmall

F = Fraction


def test_doubling_interpolates_and_lasts_as_long(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 5)
    predictor = BlendPredictor()
    run(source, tmp_path / "b.mp4", predictor, segment=4, upscale=2)
    near(levels(tmp_path / "b.mp4"), [40, 50, 60, 70, 80, 90, 100, 110, 120, 120])
    assert times(tmp_path / "b.mp4") == [F(k, 50) for k in range(10)]
    assert end_of(tmp_path / "b.mp4") == end_of(source) == F(1, 5)
    assert decode(tmp_path / "b.mp4")[0][1].shape == (64, 96, 3)
    # Each source frame once, but for those at the seams of three segments; the last one is made with the one before.
    assert len(predictor.encoded) == 5 + 2 + 1
    assert len(predictor.made) == 9  # the last one is shown twice
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.video[0].average_rate == 50


def test_rotation_is_carried_over(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 2, rotation=90)
    run(source, tmp_path / "b.mp4", upscale=2)
    with av.open(str(tmp_path / "b.mp4")) as container:
        frame = next(container.decode(video=0))
        matrix = next(bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX")
    assert frame.rotation == 90 and (frame.width, frame.height) == (96, 64)
    assert struct.unpack("<9i", matrix)[:2] == (0, -65536)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_pictures_and_montages_of_turned_videos_are_upright(tmp_path, rotation):
    stored = cv2.resize(np.array([[40, 90], [140, 190]], np.uint8), (48, 32), interpolation=cv2.INTER_NEAREST)
    upright = np.rot90(stored, rotation // 90).astype(int)  # both count against the clock
    source = write_video(tmp_path / "a.mp4", [np.repeat(stored[..., None], 3, 2)] * 2, rotation=rotation)
    run(source, tmp_path / "out", png=True)
    run(source, tmp_path / "b.mp4", montage=True)
    shown = read_image(tmp_path / "out" / "00000001.png")[..., 1]
    assert shown.shape == upright.shape and np.abs(shown - upright).mean() < 4
    both = np.rot90(decode(tmp_path / "b.mp4")[0][1], rotation // 90)[..., 1]
    assert both.shape == (upright.shape[0], 2 * upright.shape[1])
    assert np.abs(both - np.hstack([upright, upright])).mean() < 4


def test_ten_bits_stay_ten_bits(tmp_path):
    tags = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}
    frames = []
    for level in (401, 402, 404):
        frame = av.VideoFrame(48, 32, "yuv420p10le")
        for plane, value in zip(frame.planes, (level, 512, 520)):
            plane.update(np.full(plane.buffer_size // 2, value, np.uint16))
        frames.append(frame)
    source = write_video(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="yuv420p10le", tags=tags)
    run(source, tmp_path / "b.mkv", codec="ffv1", pix_fmt="yuv420p10le")
    run(source, tmp_path / "c.mp4")
    with av.open(str(tmp_path / "b.mkv")) as container:
        back = [[int(plane[3, 3]) for plane in colour.samples(frame)] for frame in container.decode(video=0)]
    near([row[0] for row in back], [401, 401.5, 402, 403, 404, 404], by=1)
    assert {tuple(row[1:]) for row in back} == {(512, 520)}
    with av.open(str(tmp_path / "c.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == "yuv420p10le"
        assert (context.colorspace, context.color_primaries, context.color_trc) == (9, 9, 16)


@pytest.mark.parametrize("matrix, full", [(1, False), (6, False), (6, True)])
def test_colours_come_out_as_tagged(tmp_path, matrix, full):
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:] = (40, 90, 200)
    described = colour.Colour(matrix, full)
    frames = [from_bgr(picture, "yuv444p", described) for _ in range(2)]
    source = write_video(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="yuv444p",
                         tags={"colorspace": matrix, "color_range": 2 if full else 1})
    run(source, tmp_path / "b.mkv", codec="ffv1")
    with av.open(str(tmp_path / "b.mkv")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (matrix, 2 if full else 1)
        assert [int(plane[5, 5]) for plane in colour.samples(frame)] == \
            [int(plane[5, 5]) for plane in colour.samples(frames[0])]


def test_untagged_video_is_tagged_with_what_was_assumed(tmp_path):
    run(write_levels(tmp_path / "a.mp4", 2), tmp_path / "b.mp4", upscale=8)
    with av.open(str(tmp_path / "b.mp4")) as container:  # or players would take the large one for BT.709
        assert container.streams.video[0].codec_context.colorspace == 6


def test_odd_sizes(tmp_path):
    pictures = [moving_picture(k, 33, 21) for k in range(3)]
    source = write_video(tmp_path / "a.mkv", pictures, codec="ffv1", pix_fmt="yuv444p")
    notes = run(source, tmp_path / "b.mp4")
    assert "33x21 becomes 34x22" in notes
    back = decode(tmp_path / "b.mp4")[0][1]
    assert back.shape == (22, 34, 3) and np.abs(back[:21, 32].astype(int) - back[:21, 33]).mean() < 8
    run(source, tmp_path / "c.mp4", pix_fmt="yuv444p")
    assert decode(tmp_path / "c.mp4")[0][1].shape == (21, 33, 3)
    run(source, tmp_path / "d.mp4", upscale=1.5)
    assert decode(tmp_path / "d.mp4")[0][1].shape == (32, 50, 3)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "bgr0"])
def test_the_same_file_whether_frames_come_packed_or_as_images(tmp_path, pix_fmt):
    torch.manual_seed(0)
    predictor = Predictor(SAFASmall(16, 1, 1, 1), device="cpu")

    class GivesImages(BlendPredictor):
        encode = staticmethod(predictor.encode)

        def frames_between(self, pairs, packing=None):
            assert packing is not None
            return predictor.frames_between(pairs)

    pictures = [moving_picture(k, 21, 13) for k in range(3)]
    source = write_video(tmp_path / "a.mkv", pictures, codec="ffv1", pix_fmt="yuv444p")
    for name, maker in (("packed", predictor), ("images", GivesImages())):
        run(source, tmp_path / f"{name}.mkv", maker, codec="ffv1", pix_fmt=pix_fmt, upscale=1)
    one, other = ([np.stack(plane) for plane in zip(*(colour.samples(frame) for frame in container.decode(video=0)))]
                  for container in map(av.open, (str(tmp_path / "packed.mkv"), str(tmp_path / "images.mkv"))))
    assert len(one[0]) == 6 and all((a == b).all() for a, b in zip(one, other, strict=True))


def test_nothing_is_blended_across_a_cut(tmp_path):
    pictures = [moving_picture(k, seed=seed, grey=True) for seed in (2, 3) for k in range(4)]
    source = write_video(tmp_path / "a.mp4", pictures)
    run(source, tmp_path / "b.mp4", multi=4)
    originals = [picture.astype(int) for _, picture in decode(source)]
    result = [picture for _, picture in decode(tmp_path / "b.mp4")]
    assert len(result) == 32
    for index in range(12, 17):
        assert np.abs(result[index] - originals[3 if index <= 14 else 4]).mean() < 6, index
    run(source, tmp_path / "c.mp4", multi=4, scene_threshold=1)
    mixed = decode(tmp_path / "c.mp4")[14][1]
    assert min(np.abs(mixed - originals[k]).mean() for k in (3, 4)) > 12


def test_repeated_frames_are_made_once(tmp_path):
    pictures = [level_picture(40), level_picture(40), level_picture(40), level_picture(90), level_picture(90)]
    source = write_video(tmp_path / "a.mkv", pictures, codec="ffv1", pix_fmt="yuv444p")
    predictor = BlendPredictor()
    run(source, tmp_path / "b.mkv", predictor, codec="ffv1", scene_threshold=1)
    near(levels(tmp_path / "b.mkv"), [40] * 5 + [65] + [90] * 4)
    assert len(predictor.made) == 3 and len(predictor.encoded) <= 3


def test_full_disk_is_one_line_and_loses_nothing(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 8)
    more = {"codec": "ffv1", "upscale": 4, "segment": 4}
    run(source, tmp_path / "whole.mkv", **more)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    biggest = (tmp_path / "whole.mkv").stat().st_size // 2  # room for each segment, but not for all of it
    resource.setrlimit(resource.RLIMIT_FSIZE, (biggest, limits[1]))
    try:
        with pytest.raises(UserError, match="no room to write .*b.mkv.*goes on where it stopped"):
            run(source, tmp_path / "b.mkv", **more)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "b.mkv").exists()
    assert "going on: 4 of 4" in run(source, tmp_path / "b.mkv", **more)
    assert (tmp_path / "b.mkv").read_bytes() == (tmp_path / "whole.mkv").read_bytes()


def test_pictures_in_and_out(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, level in (("f2.png", 60), ("f10.png", 100), ("f1.png", 20)):
        cv2.imwrite(str(folder / name), level_picture(level).astype(np.uint16) * 257)
    run(folder, tmp_path / "out", png=True, segment=2)
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"{k:08d}.png" for k in range(1, 7)]
    pictures = [read_image(file) for file in files]
    assert all(picture.dtype == np.uint16 for picture in pictures)
    assert [int(picture[0, 0, 0]) for picture in pictures] == [257 * level for level in (20, 40, 60, 80, 100, 100)]
    run(folder, tmp_path / "b.mp4", fps_in=F(24))
    assert times(tmp_path / "b.mp4") == [F(k, 48) for k in range(6)]
    with pytest.raises(UserError, match="not empty"):
        VideoJob(folder, tmp_path / "out", Options(png=True)).check_existing()


def test_montage_shows_the_original_on_the_left(tmp_path):
    run(write_levels(tmp_path / "a.mp4", 3), tmp_path / "b.mp4", montage=True, upscale=2)
    assert decode(tmp_path / "b.mp4")[0][1].shape == (64, 192, 3)
    near(levels(tmp_path / "b.mp4", slice(0, 90)), [40, 40, 60, 60, 80, 80])
    near(levels(tmp_path / "b.mp4", slice(102, None)), [40, 50, 60, 70, 80, 80])


@pytest.mark.parametrize("codec, suffix", [("hevc", ".mp4"), ("prores", ".mov"), ("av1", ".mkv"), ("vp9", ".webm")])
def test_codecs(tmp_path, codec, suffix, monkeypatch):
    monkeypatch.setenv("SVT_LOG", "1")
    source = write_levels(tmp_path / "a.mp4", 4)
    run(source, tmp_path / f"b{suffix}", codec=codec, upscale=2, segment=4)
    near(levels(tmp_path / f"b{suffix}"), [40, 50, 60, 70, 80, 90, 100, 100], by=3)
    assert [round(float(time), 2) for time in times(tmp_path / f"b{suffix}")] == [k / 50 for k in range(8)]


def test_mistakes_are_found_at_once(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 3)
    for output, options, word in [
            ("b.mp4", {"fps": F(20), "multi": 2, "slowmo": True}, "slowmo"), ("b.mp4", {"codec": "nope"}, "hevc"),
            ("b.mp4", {"start": F(2), "end": F(1)}, "--end"), ("b.mp4", {"deinterlace": "both"}, "field, frame"),
            ("b.xyz", {}, "name ending in"), ("b.webm", {"codec": "h264"}, "cannot hold"),
            ("b.mp4", {"preset": "quickest"}, "refuses"), ("b.mp4", {"crf": 52}, "between 0 and 51"),
            ("b.ts", {"codec": "av1"}, "cannot hold"), ("b.mp4", {"codec": "mpeg4", "crf": 5}, "mpeg4 knows no --crf"),
            ("a.mp4", {}, "is an input"), ("a.mp4/b.mp4", {}, "cannot write"), ("b.mp4", {"upscale": 9}, "upscale"),
            ("b.mp4", {"pix_fmt": "yuva420p"}, "yuva420p")]:
        with pytest.raises(UserError, match=word) as caught:
            VideoJob(source, tmp_path / output, Options(**{"upscale": 1, **options}))
        assert "\n" not in str(caught.value)
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "empty").mkdir()
    write_sound_only(tmp_path / "sound.m4a")
    for name in ("text.mp4", "missing.mp4", "empty", "sound.m4a"):
        with pytest.raises(UserError, match=name):
            VideoJob(tmp_path / name, tmp_path / "b.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "empty", "sound.m4a", "text.mp4"]


def write_sound_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), "s16", "stereo")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
