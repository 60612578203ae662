"""Settings of video encoders, hardware ones and those for HDR, seen in what decoders read back."""
import av
import numpy as np
import pytest
from video_files import from_bgr, run, write_levels, write_video

from common.errors import UserError
from media.video import codecs, colour, hdr
from media.video.codecs import choose_encoding

PQ = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}
# A display with P3 primaries and D65, 0.005 to 1000 cd/m2, in x265's units; MaxCLL 1000, MaxFALL 400.
DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
P3_D65 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329))


def write_hdr(path, transfer=16, metadata=True):
    frames = []
    for level in (401, 402, 404, 406):
        frame = av.VideoFrame(64, 48, "yuv420p10le")
        for plane, value in zip(frame.planes, (level, 512, 520)):
            plane.update(np.full(plane.buffer_size // 2, value, np.uint16))
        frames.append(frame)
    params = "log-level=error" + f":hdr10=1:master-display={DISPLAY}:max-cll=1000,400" * metadata
    return write_video(path, frames, codec="libx265", pix_fmt="yuv420p10le", tags={**PQ, "color_trc": transfer},
                       options={"x265-params": params})


def described(path):
    """(codec, pixel format, transfer, static metadata of the first frame)."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        context = container.streams.video[0].codec_context
        return context.codec.canonical_name, context.pix_fmt, context.color_trc, hdr.static_metadata(frame.side_data)


@pytest.mark.parametrize("output, options, codec", [
    ("b.mp4", {}, "hevc"), ("b.mkv", {"codec": "av1"}, "av1"), ("b.webm", {}, "av1"),
    ("b.mkv", {"codec": "h264"}, "h264")])
def test_hdr10_metadata_is_carried(tmp_path, output, options, codec):
    notes = run(write_hdr(tmp_path / "a.mkv"), tmp_path / output, segment=3, **options)
    name, pix_fmt, transfer, metadata = described(tmp_path / output)
    assert (name, pix_fmt, transfer) == (codec, "yuv420p10le", 16) and "HDR10" not in notes
    assert np.allclose(metadata.primaries, P3_D65, atol=2e-5)
    assert np.allclose(metadata.luminance, (0.005, 1000), rtol=2e-3)
    assert metadata.light_level == (1000, 400)


def test_hdr10_metadata_that_is_not_carried_is_named(tmp_path):
    source = write_hdr(tmp_path / "a.mkv")
    assert "mastering display and light level" in run(source, tmp_path / "b.mkv", codec="ffv1")
    assert not described(tmp_path / "b.mkv")[3]


def test_codec_for_those_who_name_none(tmp_path):
    assert codecs.default_codec(".mp4") == "h264" and codecs.default_codec(".webm") == "av1"
    assert codecs.default_codec(".m4v", transfer=16) == "h264"  # the container holds no HEVC
    run(write_hdr(tmp_path / "a.mkv", transfer=18, metadata=False), tmp_path / "b.mp4", multi=1)
    assert described(tmp_path / "b.mp4")[:3] == ("hevc", "yuv420p10le", 18)  # HLG needs no metadata
    run(write_levels(tmp_path / "c.mkv", 3), tmp_path / "d.mp4", multi=1)
    assert described(tmp_path / "d.mp4")[0] == "h264"


def test_narrow_hevc(tmp_path):
    """x265 wrote past its buffers, and the process was aborted."""
    source = write_levels(tmp_path / "a.mkv", 5)
    run(source, tmp_path / "b.mkv", codec="hevc", pix_fmt="yuv420p10le")
    assert described(tmp_path / "b.mkv")[0] == "hevc"


@pytest.mark.parametrize("codec, crf, expected", [
    ("h264_nvenc", 20, {"cq": "20", "rc": "vbr", "b": "0"}), ("hevc_qsv", 20, {"global_quality": "20"}),
    ("hevc_amf", 20, {"qp_i": "20", "qp_p": "20", "rc": "cqp"}), ("av1_amf", 20, {"qp_i": "100", "qp_p": "100"}),
    ("libvpx", 20, {"crf": "20"}), ("h264_nvenc", None, {"cq": "18"})])
def test_crf_in_the_encoders_own_options(codec, crf, expected):
    if codec not in av.codec.codecs_available:
        pytest.skip(f"libav was built without {codec}")
    assert expected.items() <= dict(choose_encoding(codec, crf).options).items()
    assert "crf" in expected or "crf" not in dict(choose_encoding(codec, crf).options)


@pytest.mark.parametrize("codec, deep", [("hevc_nvenc", "p010le"), ("hevc_qsv", "p010le"), ("av1_amf", "p010le"),
                                         ("h264_qsv", "nv12")])
def test_ten_bits_in_hardware(codec, deep):
    if codec not in av.codec.codecs_available:
        pytest.skip(f"libav was built without {codec}")
    encoding = choose_encoding(codec, depth=10)
    assert encoding.pix_fmt == deep
    assert bool(encoding.notes) == (deep == "nv12")  # 8 of 10 bits: said


def test_ten_bits_are_the_same_in_both_packings():
    image = np.random.default_rng(0).integers(0, 65536, (12, 16, 3)).astype(np.uint16)
    described = colour.Colour(9, False)
    planar, packed = (from_bgr(image, name, described) for name in ("yuv420p10le", "p010le"))
    rows = np.frombuffer(packed.planes[0], np.uint16).reshape(12, -1)[:, :16]
    assert (rows >> 6 == colour.samples(planar)[0]).all()  # the upper ten bits
    assert (colour.to_bgr(packed, described) == colour.to_bgr(planar, described)).all()


@pytest.mark.parametrize("codec, pix_fmt, word", [
    ("h264_qsv", "qsv", "frames of a device"), ("h264_v4l2m2m", "bogus", "no pixel format 'bogus'"),
    ("vc2", None, "no video codec 'vc2'"), ("dirac", None, "no video codec 'dirac'")])
def test_what_an_encoder_does_not_take_is_named(tmp_path, codec, pix_fmt, word):
    if codec not in av.codec.codecs_available:
        pytest.skip(f"libav was built without {codec}")
    with pytest.raises(UserError, match=word):
        run(write_levels(tmp_path / "a.mkv", 3), tmp_path / "b.mkv", codec=codec, pix_fmt=pix_fmt, multi=1)


def test_missing_hardware_is_named(tmp_path):
    source = write_levels(tmp_path / "a.mkv", 3)
    devices = {"hevc_nvenc": "NVIDIA", "h264_qsv": "Intel", "hevc_amf": "AMD"}
    if not devices.keys() <= av.codec.codecs_available:
        pytest.skip("libav was built without hardware encoders")
    missing = 0
    for codec, device in devices.items():
        try:
            run(source, tmp_path / f"{codec}.mkv", codec=codec, multi=1)
        except UserError as error:
            missing += 1
            assert device in str(error) and "lacks" in str(error)
    assert missing >= 1  # no machine has all three
