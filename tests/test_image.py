"""Images in and out of files, against Pillow, PyAV and the OpenEXR package's own reading, and closed forms."""
import os

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from common.errors import UserError
from common.staging import staged_folder
from media.animation import open_animation
from media.exr import HALF_MAX
from media.image import list_images, read_bgr, read_image, to_display, write_image
from media.visualize import draw_motion, flow_colours

RNG = np.random.default_rng(1)
COLOUR = cv2.resize(RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8), (49, 33), interpolation=cv2.INTER_CUBIC)
GRAY = COLOUR[..., 1].copy()


@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("image", [COLOUR, GRAY, np.dstack([COLOUR, GRAY])], ids=["bgr", "gray", "bgra"])
def test_png_keeps_channels_and_depth(tmp_path, image, deep):
    if deep:
        image = image * np.uint16(256) + np.uint16(3)
    write_image(tmp_path / "a.png", image)
    again = read_image(tmp_path / "a.png")
    assert again.dtype == image.dtype
    np.testing.assert_array_equal(again, image)


def test_colours_are_bgr_and_webp_is_lossless(tmp_path):
    for name in ("a.png", "a.webp", "a.bmp", "a.tif"):
        write_image(tmp_path / name, COLOUR)
        with Image.open(tmp_path / name) as other:
            np.testing.assert_array_equal(np.array(other.convert("RGB"))[..., ::-1], COLOUR)
        np.testing.assert_array_equal(read_image(tmp_path / name), COLOUR)


def test_palette_one_bit_and_gray_alpha_pictures_become_plain_ones(tmp_path):
    rgb = Image.fromarray(COLOUR[..., ::-1])
    palette = rgb.quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png")[..., ::-1], np.array(palette.convert("RGB")))
    bits = GRAY > 128
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png"), bits * np.uint8(255))
    Image.fromarray(np.dstack([GRAY, 255 - GRAY])).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), np.dstack([GRAY] * 3 + [255 - GRAY]))


def test_jpeg_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # stored lying on its side
    Image.fromarray(COLOUR[..., ::-1]).save(tmp_path / "turned.jpg", exif=exif, quality=98)
    upright = np.rot90(COLOUR, -1)
    again = read_image(tmp_path / "turned.jpg")
    assert again.shape == upright.shape
    assert np.abs(again.astype(int) - upright).mean() < 6


@pytest.mark.parametrize("name,shape", [("a.webp", (2, 20000)), ("a.jpg", (2, 70000)), ("a.jp2", (1, 1))])
def test_sizes_that_a_format_cannot_hold_are_named(tmp_path, name, shape):
    with pytest.raises(UserError, match=f"{name}: .*{shape[1]}x{shape[0]}"):
        write_image(tmp_path / name, np.zeros(shape, np.uint8))
    assert not list(tmp_path.iterdir())


def test_images_of_a_folder_in_natural_order_without_hidden_ones(tmp_path):
    names = ["img10.png", "img²/1.png", "img2.JPG", "img2.jpg", "img02.jpg", "b/1.avif", "b/deep/a.exr"]
    for name in [*names, "._img1.png", ".img3.png.tmp.png", "notes.txt", ".hidden/img1.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [path.name for path in list_images(tmp_path)] == ["img02.jpg", "img2.JPG", "img2.jpg", "img10.png"]
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path, recursive=True)]
    assert found == ["b/1.avif", "b/deep/a.exr", "img02.jpg", "img2.JPG", "img2.jpg", "img10.png", "img²/1.png"]
    with pytest.raises(UserError, match="gone"):
        list_images(tmp_path / "gone")


def test_colours_for_training_and_scoring_are_as_stored(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(COLOUR[..., ::-1]).save(tmp_path / "turned.jpg", exif=exif, quality=98)
    stored = np.array(Image.open(tmp_path / "turned.jpg"))[..., ::-1]
    assert np.abs(read_bgr(tmp_path / "turned.jpg").astype(int) - stored).max() <= 3  # the decoders round differently
    write_image(tmp_path / "alpha.png", np.dstack([COLOUR, GRAY]))
    np.testing.assert_array_equal(read_bgr(tmp_path / "alpha.png"), COLOUR)
    deep = GRAY * np.uint16(200) + np.uint16(77)
    write_image(tmp_path / "gray.png", deep)
    np.testing.assert_array_equal(read_bgr(tmp_path / "gray.png"), np.dstack([np.rint(deep / 257)] * 3))
    np.testing.assert_array_equal(read_bgr(tmp_path / "gray.png", deep=True), np.dstack([deep] * 3))
    write_image(tmp_path / "float.exr", GRAY.astype(np.float32))
    with pytest.raises(UserError, match="float.exr"):
        read_bgr(tmp_path / "float.exr")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_refused_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match="pipe"):
        read_image(tmp_path / "pipe.png")


def write_exr_by_the_package(path, channels, **header):
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    OpenEXR.File(header, {name: np.ascontiguousarray(plane) for name, plane in channels.items()}).write(str(path))


def test_exr_is_linear_half_float_and_not_clipped(tmp_path):
    planes = (RNG.random((6, 9, 4)) * 40 - 1).astype(np.float16)
    write_exr_by_the_package(tmp_path / "in.exr", dict(zip("RGBA", planes.transpose(2, 0, 1))))
    image = read_image(tmp_path / "in.exr")
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, planes[..., [2, 1, 0, 3]].astype(np.float32))
    image[0, 0, 0] = 1e9
    write_image(tmp_path / "out.exr", image)
    channels = OpenEXR.File(str(tmp_path / "out.exr"), separate_channels=True).channels()
    assert {name: channel.pixels.dtype for name, channel in channels.items()} == dict.fromkeys("RGBA", np.float16)
    np.testing.assert_array_equal(channels["R"].pixels, planes[..., 0])
    assert channels["B"].pixels[0, 0] == HALF_MAX
    write_image(tmp_path / "gray.exr", image[..., 1])
    np.testing.assert_array_equal(read_image(tmp_path / "gray.exr"), image[..., 1])


def test_exr_data_window_is_placed_in_the_display_window(tmp_path):
    data = RNG.random((4, 6)).astype(np.float16)
    windows = {"dataWindow": (np.array([3, -1], np.int32), np.array([8, 2], np.int32)),
               "displayWindow": (np.array([0, 0], np.int32), np.array([6, 4], np.int32))}
    write_exr_by_the_package(tmp_path / "a.exr", {"Y": data}, **windows)
    expected = np.zeros((5, 7), np.float32)
    expected[:3, 3:] = data[1:, :4]  # the top row and the last two columns lie outside
    np.testing.assert_array_equal(read_image(tmp_path / "a.exr"), expected)


def truncated(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * keep)])


@pytest.mark.filterwarnings("ignore")  # pytest undoes the project's own filter
def test_broken_files_are_one_clear_error(tmp_path, capfd):
    big = cv2.resize(COLOUR, (400, 300), interpolation=cv2.INTER_CUBIC)
    for name in ("a.png", "a.jpg", "a.webp", "a.bmp", "a.tif", "a.exr"):
        write_image(tmp_path / name, big.astype(np.float32) if name == "a.exr" else big)
        read_image(tmp_path / name)
        truncated(tmp_path / name, 0.97)
    damaged = bytearray(cv2.imencode(".png", big)[1].tobytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.png").write_bytes(damaged)
    (tmp_path / "text.png").write_text("not a image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    write_exr_by_the_package(tmp_path / "depth.exr", {"Z": GRAY.astype(np.float32)})
    for name in ("a.png", "a.jpg", "a.webp", "a.bmp", "a.tif", "a.exr", "damaged.png", "text.png", "empty.png",
                 "folder.png", "missing.png", "depth.exr"):
        with pytest.raises(UserError, match=name):
            read_image(tmp_path / name)
    assert capfd.readouterr() == ("", "")  # the decoders' own complaints stay out of sight


def test_truncated_jpeg_with_a_thumbnail_in_its_header_is_noticed(tmp_path):
    # The thumbnail has an end marker of its own, which must not count.
    thumbnail = cv2.imencode(".jpg", GRAY)[1].tobytes()
    whole = cv2.imencode(".jpg", cv2.resize(COLOUR, (300, 200)))[1].tobytes()
    header = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    (tmp_path / "a.jpg").write_bytes(whole[:2] + header + whole[2:])
    assert read_image(tmp_path / "a.jpg").shape == (200, 300, 3)
    truncated(tmp_path / "a.jpg", 0.9)
    with pytest.raises(UserError, match="cut short"):
        read_image(tmp_path / "a.jpg")


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    for name, image in (("a.jpg", GRAY.astype(np.uint16)), ("a.png", GRAY.astype(np.float32)), ("a.xyz", GRAY)):
        with pytest.raises(UserError, match=name):
            write_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())


def test_display_of_every_kind():
    np.testing.assert_array_equal(to_display(COLOUR), COLOUR)
    np.testing.assert_array_equal(to_display(GRAY * np.uint16(257)), np.dstack([GRAY] * 3))
    half_clear = np.array([[[0, 0, 0, 51], [10, 20, 30, 255]]], np.uint8)
    np.testing.assert_array_equal(to_display(half_clear), [[[204, 204, 204], [10, 20, 30]]])
    linear = np.array([[0.0, 0.21586, 5.0]], np.float32)  # sRGB's 128, by IEC 61966-2-1
    np.testing.assert_array_equal(to_display(linear)[0, :, 0], [0, 128, 255])
    half_covered = np.array([[[0, 0, 0, 0.78414], [0.5, 0.5, 0.5, 0.5]]], np.float32)  # colours hold alpha already
    np.testing.assert_array_equal(to_display(half_covered)[0, :, 0], [128, 255])


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_animation_decodes_to_its_frames(tmp_path, suffix):
    ramp = np.mgrid[:31, :45].sum(0) * 3
    frames = [np.dstack([ramp, ramp + 8 * i, np.full_like(ramp, 30 * i)]).astype(np.uint8) for i in range(5)]
    for name in ("a", "b"):
        with open_animation(tmp_path / (name + suffix), 8) as animation:
            for frame in frames:
                animation.add(frame)
    with av.open(str(tmp_path / ("a" + suffix))) as container:
        decoded = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
        assert abs(float(container.duration) / 1e6 - 5 / 8) < 0.03
    assert len(decoded) == 5
    for frame, again in zip(frames, decoded):
        assert np.abs(again[:31, :45].astype(int) - frame).mean() < 6
    assert (tmp_path / ("a" + suffix)).read_bytes() == (tmp_path / ("b" + suffix)).read_bytes()


def test_animation_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "a.gif").write_text("earlier")
    with pytest.raises(RuntimeError), open_animation(tmp_path / "a.gif", 10) as animation:
        animation.add(COLOUR)
        raise RuntimeError
    assert (tmp_path / "a.gif").read_text() == "earlier"
    assert len(list(tmp_path.iterdir())) == 1
    for name, fps, message in (("a.avi", 10, "gif or .mp4"), ("b.gif", 0.0004, "0.0004"), ("b.gif", 101, "101"),
                               ("b.mp4", 0.0004, "0.0004")):
        with pytest.raises(UserError, match=message), open_animation(tmp_path / name, fps):
            pass
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_animation_of_a_colon_in_its_name_and_of_the_slowest_rate(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    with open_animation("Alien:2" + suffix, 0.01) as animation:
        for _ in range(2):
            animation.add(COLOUR)
    with av.open(str(tmp_path / ("Alien:2" + suffix))) as container:
        assert [float(frame.pts * frame.time_base) for frame in container.decode(video=0)] == [0, 100]


def test_frames_too_large_for_the_format_are_one_error(tmp_path):
    with pytest.raises(UserError, match="a.mp4"), open_animation(tmp_path / "a.mp4", 10) as animation:
        animation.add(np.zeros((2, 40000, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_staged_files_appear_together_or_not_at_all(tmp_path):
    with staged_folder(tmp_path / "out") as stage:
        (stage / "a").write_text("1")
        assert not (tmp_path / "out" / "a").exists()
    with pytest.raises(RuntimeError), staged_folder(tmp_path / "out") as stage:
        (stage / "a").write_text("2")
        raise RuntimeError
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
    assert (tmp_path / "out" / "a").read_text() == "1"
    with pytest.raises(RuntimeError), staged_folder(tmp_path / "new"):
        raise RuntimeError
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="file"), staged_folder(tmp_path / "out" / "a"):
        pass
    (tmp_path / "out" / "b").mkdir()
    with pytest.raises(UserError, match="b: a folder has that name"), staged_folder(tmp_path / "out") as stage:
        (stage / "a").write_text("2")
        (stage / "b").write_text("2")
    assert (tmp_path / "out" / "a").read_text() == "1"


def test_stages_of_killed_processes_are_removed_and_living_ones_kept(tmp_path):
    (tmp_path / ".unfinished-old").mkdir()
    (tmp_path / ".unfinished-old" / "img0.png").write_text("half")
    with staged_folder(tmp_path) as stage:
        (stage / "a").write_text("1")
        assert [path.name for path in tmp_path.iterdir()] == [stage.name]
        with staged_folder(tmp_path) as other:
            (other / "b").write_text("2")
        assert stage.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_flow_colours_by_direction_and_length():
    flow = np.array([[[0, 0], [5, 0], [2.5, 0], [-5, 0], [50, 0]]], np.float32)
    white, right, half, left, far = flow_colours(flow, 5)[0]
    np.testing.assert_array_equal(white, [255, 255, 255])
    np.testing.assert_array_equal(right, [0, 0, 255])  # red
    np.testing.assert_array_equal(half, [128, 128, 255])
    np.testing.assert_array_equal(left, [255, 255, 0])  # the opposite colour
    np.testing.assert_array_equal(far, right)


def test_motion_image_shows_mask_and_flow():
    flow = np.zeros((90, 160, 4), np.float32)
    flow[..., 0] = 3
    mask = np.zeros((90, 160), np.float32)
    mask[:, :80] = 1
    frame = np.full((90, 160, 3), 77, np.uint8)
    image = draw_motion(frame, 0.5, flow, mask, [1, 2, 4])
    assert image.shape == (2 * (180 + 40), 640, 3)
    assert (image[130, 160] == 77).all()
    assert (image[130, 320 + 80] == 255).all() and (image[130, 320 + 240] == 0).all()
    np.testing.assert_array_equal(image[220 + 130, 160], [0, 0, 255])
    assert (image[220 + 130, 320 + 160] == 255).all()


def test_motion_image_of_a_narrow_frame_has_borders():
    frame = np.full((1200, 4, 3), 77, np.uint8)
    image = draw_motion(frame, 0.5, np.zeros((1200, 4, 4), np.float32), np.ones((1200, 4), np.float32), [1])
    assert image.shape == (2 * (1200 + 40), 640, 3)
    assert (image[40:1240, 158:162] == 77).all() and (image[40:1240, 320 + 158:320 + 162] == 255).all()
    image = draw_motion(frame[:90], 0.5, np.zeros((90, 4, 4), np.float32), np.ones((90, 4), np.float32), [1])
    assert image.shape[0] < 2500 and image.shape[1] == 640  # enlarged, but not without end


@pytest.mark.parametrize("width,estimate", [(45, b"mbtree=0"), (64, b"mbtree=1")])
def test_narrow_animations_do_without_the_estimate_that_differs_from_run_to_run(tmp_path, width, estimate):
    """x264 writes its settings into the stream."""
    with open_animation(tmp_path / "a.mp4", 8) as animation:
        animation.add(np.zeros((32, width, 3), np.uint8))
    assert estimate in (tmp_path / "a.mp4").read_bytes()
