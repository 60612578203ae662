"""Packed caches, and which windows are sampled with and without one."""
import json
import os

import cv2
import numpy as np
import pytest
from dataset_files import HEIGHT, WIDTH, make_adobe, numbered_frame, write_frames, write_video
from test_dataset import items

from common.errors import UserError
from data.differences import FILE, moving
from data.packed import TILE, TiledFrame, open_packed
from data.packing import pack
from dataset import TrainingStream, open_dataset


@pytest.fixture
def adobe(tmp_path):
    return make_adobe(tmp_path / "adobe240")


def test_packed_cache_gives_the_same_samples(adobe, tmp_path):
    cache = tmp_path / "cache"
    index = pack(adobe, cache)
    assert sum(entry["frames"] for entry in index["clips"]) == 31
    plain, packed = (TrainingStream(open_dataset("adobe240", root, crop=32), 1) for root in (adobe, cache))
    assert items(plain, range(8)) == items(packed, range(8)) == items(packed, range(8), workers=1)
    spawned = items(packed, range(3), workers=1, multiprocessing_context="spawn")
    assert spawned == items(plain, range(3))

    with pytest.raises(UserError, match="exists"):
        pack(adobe, cache)
    with open(cache / "frames.bin", "ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="pack it again"):
        open_packed(cache)
    (cache / "index.json").write_text("{")
    with pytest.raises(UserError, match="pack it again"):
        open_packed(cache)

    damaged = adobe / "frame/train/GOPR1/5.png"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(UserError, match="5.png"):
        pack(adobe, tmp_path / "second")
    assert not list(tmp_path.glob("*second*")), "a failed cache leaves nothing behind"
    index = pack(adobe, tmp_path / "second", reduce=2, skip_corrupt=True)
    clip = open_packed(tmp_path / "second")[0]
    assert (len(clip), clip.size()) == (5, (HEIGHT // 2, WIDTH // 2)) and "5.png" in index["damage"][0]
    expected = cv2.resize(numbered_frame(4), (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    assert np.array_equal(clip.read([4])[0], expected)
    assert np.allclose(clip.differences, 10 / 3, atol=0.3)  # one of three channels rises by 10


def test_packed_clips_are_sampled_where_they_move(tmp_path):
    differences = np.array([3, 3, 3, 0, 0, 0, 0, 3, 3, 80, 3, 3, 3, 0.01, 3], np.float32)
    #           first frame: 0  1  2  3 ...        7  8  9  10
    assert np.flatnonzero(moving(differences, 2)).tolist() == [0, 1, 7, 10, 11]
    assert np.flatnonzero(moving(differences, 3)).tolist() == [0, 10]
    assert not moving(differences[:2], 3).any() and len(moving(differences[:2], 3)) == 3

    rng = np.random.default_rng(0)
    folder = tmp_path / "clips" / "still"
    folder.mkdir(parents=True)
    picture = rng.integers(0, 256, (40, 60, 3), np.uint8)
    for number in range(20):
        shift = max(0, number - 10)  # stands still, then pans
        cv2.imwrite(str(folder / f"{number}.png"), cv2.blur(np.roll(picture, 2 * shift, 1), (5, 5)))
    pack(tmp_path / "clips", tmp_path / "cache")
    assert len(open_dataset("folder", tmp_path / "cache", crop=32, gap=2, held_out=0)) == 8


def test_cache_index_is_reproducible(adobe, tmp_path):
    indices = [pack(adobe, tmp_path / name) for name in "ab"]
    assert json.dumps(indices[0]) == (tmp_path / "b" / "index.json").read_text()


def write_scene(folder, count, size=(150, 210)):
    """A photo-like image that pans by 2 pixels a frame; another one from frame 6 on."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    images = [cv2.GaussianBlur(rng.integers(0, 256, (*size, 3), np.uint8), (0, 0), 2) for _ in range(2)]
    images = [cv2.normalize(image, None, 0, 200 + 55 * number, cv2.NORM_MINMAX) for number, image in enumerate(images)]
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.roll(images[number >= 6], -2 * number, 1))
    return folder


def windows(data):
    return [(clip.name, np.flatnonzero(table.any(0)).tolist()) for clip, table in zip(data.clips, data._allowed)]


def test_a_cache_and_its_folder_have_the_same_windows(tmp_path, monkeypatch):
    write_scene(tmp_path / "clips" / "cut", 14)
    write_video(tmp_path / "clips" / "video.mp4", 20)
    pack(tmp_path / "clips", tmp_path / "cache")
    folder, cache = (open_dataset("folder", tmp_path / part, crop=32, gap=3, held_out=0) for part in ("clips", "cache"))
    assert windows(folder) == windows(cache)
    assert windows(folder)[0] == ("cut", [0, 1, 2, 6, 7, 8, 9, 10]), "none across the cut at 6"
    assert items(TrainingStream(folder, 0), range(6)) == items(TrainingStream(cache, 0), range(6))

    monkeypatch.setattr("data.differences._measure", lambda clip: pytest.fail("measured again"))
    assert windows(open_dataset("folder", tmp_path / "clips", crop=32, gap=3, held_out=0)) == windows(cache)
    monkeypatch.undo()
    write_scene(tmp_path / "other", 9)
    for file in (tmp_path / "other").iterdir():  # new frames in an old folder are looked at
        os.replace(file, tmp_path / "clips" / "cut" / f"1{file.name.zfill(6)}")
    assert len(windows(open_dataset("folder", tmp_path / "clips", crop=32, gap=3, held_out=0))[0][1]) == 8 + 3


def test_unreadable_frames_are_no_reason_to_leave_windows_out(tmp_path):
    folder = write_scene(tmp_path / "clips" / "one", 6)
    (folder / "3.png").write_bytes(b"no image")
    data = open_dataset("folder", tmp_path / "clips", crop=32, gap=2, held_out=0, skip_corrupt=True)
    assert windows(data) == [("one", [0, 1, 2, 3])]
    assert "NaN" not in (tmp_path / "clips" / FILE).read_text()
    data.sample(1, np.random.default_rng(0))
    assert data.skipped >= 1


def test_a_folder_that_cannot_be_written_to_is_measured_each_time(tmp_path, monkeypatch):
    write_scene(tmp_path / "clips" / "cut", 14)

    def refuse(*_, **__):
        raise PermissionError("read-only")
    monkeypatch.setattr("data.differences.FileLock", refuse)
    data = open_dataset("folder", tmp_path / "clips", crop=32, gap=3, held_out=0)
    assert windows(data) == [("cut", [0, 1, 2, 6, 7, 8, 9, 10])] and not (tmp_path / "clips" / FILE).exists()


@pytest.mark.parametrize("format_", ["jpeg", "webp"])
def test_formats_of_a_cache(tmp_path, format_):
    write_scene(tmp_path / "clips" / "a", 6)
    write_frames(tmp_path / "clips" / "b", range(4))  # smaller than a tile
    raw, small = tmp_path / "raw", tmp_path / "small"
    indices = [pack(tmp_path / "clips", output, format_=name) for output, name in ((raw, "raw"), (small, format_))]
    assert indices[1]["clips"][0]["differences"] == indices[0]["clips"][0]["differences"]
    for exact, kept in zip(open_packed(raw), open_packed(small), strict=True):
        for index, (true, frame) in enumerate(zip(exact.read([0, 2, 3]), kept.read([0, 2, 3]))):
            assert isinstance(frame, TiledFrame) and frame.shape == true.shape
            error = np.asarray(frame).astype(float) - true
            assert (error == 0).all() if format_ == "webp" else 10 * np.log10(255**2 / (error**2).mean()) > 44
            rng = np.random.default_rng(index)
            for _ in range(5):  # any cut is that of the whole frame
                (top, bottom), (left, right) = (sorted(rng.integers(0, side + 1, 2)) for side in frame.shape[:2])
                whole = np.asarray(frame)[top:bottom, left:right]
                fresh = kept.read([[0, 2, 3][index]])[0]
                assert np.array_equal(fresh[top:bottom, left:right], whole)
    cut = kept.read([0])[0]
    cut[0:32, 0:32]
    assert len(cut._decoded) == 1 and TILE == 128
    streams = [TrainingStream(open_dataset("folder", root, crop=32, gap=2, held_out=0), 0) for root in (raw, small)]
    if format_ == "webp":
        assert items(streams[0], range(6)) == items(streams[1], range(6)) == items(streams[1], range(6), workers=1)
    reduced = open_dataset("folder", small, crop=16, gap=2, held_out=0, reduce=2)
    assert reduced.sample(0, np.random.default_rng(0)).targets.shape == (9, 16, 16)
    data = bytearray((small / "frames.bin").read_bytes())
    data[:200] = bytes(200)
    (small / "frames.bin").write_bytes(data)
    with pytest.raises(UserError, match="frame 0 of a is damaged: pack it again"):
        np.asarray(open_packed(small)[0].read([0])[0])


def test_caches_of_the_first_version_are_read(adobe, tmp_path):
    pack(adobe, tmp_path / "cache")
    index = json.loads((tmp_path / "cache" / "index.json").read_text())
    expected = np.array(open_packed(tmp_path / "cache")[1].read([2])[0])
    index = {name: value for name, value in index.items() if name not in ("format", "tiles")} | {"version": 1}
    index["clips"] = [{k: v for k, v in clip.items() if k != "first_tile"} for clip in index["clips"]]
    (tmp_path / "cache" / "index.json").write_text(json.dumps(index))
    assert np.array_equal(open_packed(tmp_path / "cache")[1].read([2])[0], expected)
