"""Every N-th frame of any folder of videos, and generated scenes, each timestep scored by itself."""
import json
import math
import shutil
import sys

import av
import cv2
import numpy as np
import pytest

from benchmark import folder, synthetic
from common.errors import UserError
from data.packing import pack


def run(monkeypatch, tmp_path, script, *arguments) -> dict:
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments), "--output", str(tmp_path / "out"),
                                      "--json", str(tmp_path / "result.json")])
    script.main()
    return json.loads((tmp_path / "result.json").read_text())


def grey(index: int) -> int:
    return 20 + 6 * index + (index * index) % 7


def make_frames(root, video: str, count: int, size=(32, 48)) -> None:
    (root / video).mkdir(parents=True)
    for index in range(count):
        cv2.imwrite(str(root / video / f"{index:03d}.png"), np.full((*size, 3), grey(index), np.uint8))


def blended(start: int, gap: int, k: int) -> float | None:
    error = grey(start + k) - (grey(start) + (grey(start + gap) - grey(start)) * k / gap)
    return None if abs(error) < 1e-9 else 20 * math.log10(255 / (abs(error) * 219 / 255))


def test_each_timestep_by_itself(monkeypatch, tmp_path):
    make_frames(tmp_path / "data", "a/deep", 18)
    make_frames(tmp_path / "data", "b", 9)
    make_frames(tmp_path / "data", "short", 4)
    result = run(monkeypatch, tmp_path, folder, "--root", tmp_path / "data", "--gap", 4, "--method", "bicubic")
    starts = [0, 4, 8, 12, 0, 4]
    assert [record["video"] for record in result["per_clip"]] == ["a/deep"] * 4 + ["b"] * 2
    for k in (1, 2, 3):
        values = [value for value in (blended(start, 4, k) for start in starts) if value is not None]
        name = {1: "t = 1/4", 2: "t = 1/2", 3: "t = 3/4"}[k]
        assert result["figures"][name]["psnr"] == pytest.approx(np.mean(values), abs=1e-4)
        assert result["figures"][name]["frames"] == len(starts)
    assert result["figures"]["t = 0"]["infinite_frames"] == len(starts)
    assert list(result["figures"]) == ["between", "t = 0", "t = 1/4", "t = 1/2", "t = 3/4"]


def test_part_of_each_video(monkeypatch, tmp_path):
    make_frames(tmp_path / "data", "a", 36)
    arguments = [folder, "--root", tmp_path / "data", "--gap", 2, "--method", "bicubic"]
    names = [record["clip"] for record in run(monkeypatch, tmp_path, *arguments, "--held_out", 0.25)["per_clip"]]
    assert names == [f"a/{index:08d}" for index in (27, 29, 31, 33)]
    names = [record["clip"] for record in run(monkeypatch, tmp_path, *arguments, "--per_video", 3)["per_clip"]]
    assert names == ["a/00000000", "a/00000016", "a/00000032"]


def test_videos_and_packed_caches_give_the_same_clips(monkeypatch, tmp_path):
    """The same video as a file, reduced here, and packed reduced."""
    random = np.random.default_rng(0)
    texture = cv2.GaussianBlur(random.integers(0, 256, (64, 160, 3), np.uint8), (0, 0), 4)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    (tmp_path / "data").mkdir()
    with av.open(str(tmp_path / "data" / "v.mkv"), "w") as file:
        stream = file.add_stream("ffv1", 25, width=96, height=64, pix_fmt="bgr0")
        for index in range(9):
            frame = np.ascontiguousarray(texture[:, 6 * index:96 + 6 * index])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "bgr24")))
        file.mux(stream.encode(None))
    pack(tmp_path / "data", tmp_path / "packed", reduce=2)
    from_file = run(monkeypatch, tmp_path, folder, "--root", tmp_path / "data", "--gap", 4, "--reduce", 2,
                    "--method", "flow")
    from_cache = run(monkeypatch, tmp_path, folder, "--root", tmp_path / "packed", "--gap", 4, "--method", "flow")
    assert from_file["per_clip"] == from_cache["per_clip"] and len(from_cache["per_clip"]) == 2
    with pytest.raises(UserError, match="give --reduce when packing"):
        run(monkeypatch, tmp_path, folder, "--root", tmp_path / "packed", "--gap", 4, "--reduce", 2)


@pytest.mark.parametrize("packed", [False, True])
def test_clips_of_a_changed_video_are_done_again(monkeypatch, tmp_path, packed):
    root = tmp_path / ("packed" if packed else "data")
    arguments = [folder, "--root", root, "--gap", 2, "--method", "bicubic"]
    make_frames(tmp_path / "data", "a", 3)
    for truth in (1, 2):
        cv2.imwrite(str(tmp_path / "data/a/001.png"), np.full((32, 48, 3), grey(0) + truth, np.uint8))
        if packed:
            shutil.rmtree(root, ignore_errors=True)
            pack(tmp_path / "data", root)
        error = (grey(0) + grey(2)) / 2 - grey(0) - truth
        assert run(monkeypatch, tmp_path, *arguments)["psnr"] == pytest.approx(
            20 * math.log10(255 / (abs(error) * 219 / 255)), abs=1e-4)


def test_cuts_and_stills_are_left_out(monkeypatch, tmp_path):
    make_frames(tmp_path / "data", "a", 13)
    for index in (*range(4, 9), 11):
        level = grey(4) if index < 9 else 250  # still from 4 to 8; a flash at 11
        cv2.imwrite(str(tmp_path / "data" / "a" / f"{index:03d}.png"), np.full((32, 48, 3), level, np.uint8))
    result = run(monkeypatch, tmp_path, folder, "--root", tmp_path / "data", "--gap", 4, "--method", "bicubic")
    assert [record["clip"] for record in result["per_clip"]] == ["a/00000000"]


def test_nothing_long_enough(monkeypatch, tmp_path):
    make_frames(tmp_path / "data", "a", 5)
    with pytest.raises(UserError, match="no video in .* has 9 frames"):
        run(monkeypatch, tmp_path, folder, "--root", tmp_path / "data", "--method", "bicubic")
    with pytest.raises(UserError, match="leaves no frame"):
        run(monkeypatch, tmp_path, folder, "--root", tmp_path / "data", "--gap", 1)


def test_generated_scenes_move_as_asked(monkeypatch, tmp_path):
    arguments = [synthetic, "--size", 64, "--scenes", 4, "--motion", 5, 9, "--method"]
    result = run(monkeypatch, tmp_path, *arguments, "flow")
    assert run(monkeypatch, tmp_path, *arguments, "flow", "--fresh")["per_clip"] == result["per_clip"]
    assert list(result["figures"]) == ["between", "t = 0", "t = 1/4", "t = 1/2", "t = 3/4"]
    assert result["figures"]["between"]["frames"] == 12
    for clip in synthetic.protocol_and_clips(synthetic.parser.parse_args(
            ["--size", "64", "--scenes", "20", "--motion", "5", "9"]))[1]:
        scene = clip.inputs[0].video
        layers = scene._scenes.scene(np.random.default_rng([2, scene._seed]))
        lengths = [np.hypot(*layer.path.move) for layer in layers]
        assert 5 <= lengths[0] <= 9 and max(lengths) <= 9 + 1e-9  # the background, and all
    with pytest.raises(UserError, match="the smaller number comes first"):
        run(monkeypatch, tmp_path, synthetic, "--motion", 9, 5)


def test_scenes_of_other_photos_are_other_scenes(monkeypatch, tmp_path):
    """Though the folders have one name, or hold photos of both kinds."""
    random = np.random.default_rng(0)
    for parent in "ab":
        (tmp_path / parent / "photos").mkdir(parents=True)
        for name in "xy":
            photo = random.integers(0, 256, (64, 64, 3), np.uint8)
            cv2.imwrite(str(tmp_path / parent / "photos" / f"{name}.png"), photo)
    arguments = [synthetic, "--size", 32, "--scenes", 1, "--gap", 2, "--method", "bicubic"]
    results = []
    for parent, photos in ("ax", "ay", "bx", "ax"):
        chosen = ["--photos", tmp_path / parent / "photos", "--val_photos", f"{photos}.*"]
        results.append(run(monkeypatch, tmp_path, *arguments, *chosen)["per_clip"])
        assert run(monkeypatch, tmp_path / "anew", *arguments, *chosen, "--fresh")["per_clip"] == results[-1]
    assert results[0] == results[3] and results[0] != results[1] != results[2] != results[0]
