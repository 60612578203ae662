"""Bad frames, damaged videos and full disks: what `dataset.py` and the datasets say of them, and what they keep."""
import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from dataset_files import make_adobe, write_frames, write_video
from test_dataset import items

import dataset as command
from common.errors import UserError
from data.adobe240 import LISTS
from data.extract import extract, prepare_adobe240
from data.frames import CorruptFrame, FrameFolder, VideoFile
from data.packing import pack
from dataset import TrainingStream, open_dataset

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def adobe(tmp_path):
    return make_adobe(tmp_path / "adobe240")


def test_corrupt_frames_are_named_or_skipped_and_counted(adobe):
    bad = adobe / "frame/train/GOPR1/11.png"
    bad.write_bytes(bad.read_bytes()[:100])
    strict, lenient = (open_dataset("adobe240", adobe, crop=32, skip_corrupt=skip) for skip in (False, True))
    with pytest.raises(CorruptFrame, match="11.png"):
        strict.sample(3, np.random.default_rng(0))
    again = [lenient.sample(3, np.random.default_rng(0)).targets for _ in range(2)]
    assert np.array_equal(*again) and lenient.skipped >= 2
    before = lenient.skipped
    stream = TrainingStream(lenient, 0)
    assert items(stream, range(10), workers=2) == items(stream, range(10))
    both = lenient.skipped - before
    assert stream.skipped == lenient.skipped and both >= 4 and both % 2 == 0, "workers count into the same counter"
    assert strict.skipped == 0

    (adobe / "frame/train/IMG_2/4.png").unlink()
    folder = FrameFolder(adobe / "frame/train/IMG_2", "IMG_2")
    assert folder.missing == [(4, 1)]
    with pytest.raises(CorruptFrame, match="1 frame.* missing before .*5.png"):
        folder.read([2, 3, 5])
    for file in adobe.rglob("*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(UserError, match="in a row"):
        open_dataset("adobe240", adobe, crop=32, skip_corrupt=True).sample(0, np.random.default_rng(0))


def test_prepare_resumes_and_reports_damage(tmp_path, capsys):
    videos, output = tmp_path / "videos", tmp_path / "frames"
    (videos / "more").mkdir(parents=True)
    write_video(videos / "IMG_1.mov", 12)
    write_video(videos / "more" / "GOPR2.MP4", 9)
    good = (videos / "IMG_1.mov").read_bytes()
    (videos / "broken.m4v").write_bytes(b"no video")
    (output / ".IMG_1.tmp").mkdir(parents=True)  # what a killed run leaves behind
    with pytest.raises(UserError, match="1 video.*broken.m4v"):
        prepare_adobe240(videos, output, workers=2)
    assert sorted(folder.name for folder in output.iterdir()) == ["GOPR2", "IMG_1"]
    assert sorted(int(file.stem) for file in (output / "IMG_1").iterdir()) == list(range(12))
    image = cv2.imread(str(output / "IMG_1" / "11.png"))
    assert image.shape == (48, 64, 3) and abs(float(image[0, 0, 0]) - 66) < 3
    capture = cv2.VideoCapture(str(videos / "IMG_1.mov"))  # as the field's own preparation reads it
    assert np.array_equal([capture.read()[1] for _ in range(12)][11], image)

    (videos / "broken.m4v").unlink()
    stamp = (output / "IMG_1").stat().st_mtime_ns
    shutil.rmtree(output / "GOPR2")
    assert prepare_adobe240(videos, output, workers=1) == [output / "GOPR2"]
    assert (output / "IMG_1").stat().st_mtime_ns == stamp
    assert prepare_adobe240(videos, output) == []
    (videos / "more" / "IMG_1.mp4").write_bytes(good)
    with pytest.raises(UserError, match="rename one"):
        prepare_adobe240(videos, output)


def test_prepare_killed_ends_its_workers_and_can_be_run_again(tmp_path):
    videos, output = tmp_path / "videos", tmp_path / "frames"
    videos.mkdir()
    for name in "ab":
        write_video(videos / f"{name}.mov", 30, size=(640, 480))
    command = [sys.executable, "dataset.py", "prepare", "adobe240", "--videos", videos, "--output", output]
    process = subprocess.Popen([*command, "--workers", "1"], cwd=ROOT, stderr=subprocess.PIPE)
    while not (output / ".a.tmp" / "1.png").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.communicate(timeout=30)  # the pipe closes when the last of its processes has ended
    assert not (output / "a").exists()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert [len(list((output / name).iterdir())) for name in "ab"] == [30, 30]
    assert sorted(path.name for path in output.iterdir()) == ["a", "b"]


def run_main(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["dataset.py", *map(str, arguments)])
    command.main()


def test_check_names_every_bad_frame(adobe, monkeypatch, capsys):
    run_main(monkeypatch, "check", "adobe240", adobe)
    assert "3 clips, every frame can be read" in capsys.readouterr().out
    (adobe / "frame/valid/IMG_3/2.png").write_bytes(b"")
    (adobe / "frame/train/GOPR1/7.png").unlink()
    cv2.imwrite(str(adobe / "frame/train/IMG_2/3.png"), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(UserError, match="3 problem"):
        run_main(monkeypatch, "check", "adobe240", adobe)
    lines = capsys.readouterr().out.splitlines()
    assert ["IMG_3/2.png" in " ".join(lines), "GOPR1/8.png: 1 frame(s) missing" in " ".join(lines),
            "IMG_2/3.png: 20x20 instead of 56x40" in " ".join(lines)] == [True] * 3 and len(lines) == 3
    (adobe / "own.txt").write_text("IMG_2\n")
    with pytest.raises(UserError, match="1 problem"):
        run_main(monkeypatch, "check", "adobe240", adobe, "--list", adobe / "own.txt")


def test_bad_input_is_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "empty").mkdir()
    result = subprocess.run([sys.executable, "dataset.py", "pack", tmp_path / "empty", "--output", tmp_path / "cache"],
                            cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "holds no videos" in result.stderr




def write_damaged(path: Path) -> tuple[list[np.ndarray], Path]:
    """A video with key frames 0, 12, 24 whose frame 12 is spoilt inside; its 36 frames as they were before."""
    texture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (200, 300), np.uint8), (0, 0), 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 30)
        stream.width, stream.height, stream.pix_fmt, stream.options = 128, 96, "yuv420p", {"g": "12", "bf": "0"}
        for number in range(36):
            planes = np.full((144, 128), 128, np.uint8)
            planes[:96] = texture[number:number + 96, 2 * number:2 * number + 128]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")))
        container.mux(stream.encode())
    whole = list(VideoFile(path, "whole").frames())
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.is_keyframe][1]
    data = bytearray(path.read_bytes())
    data[packet.pos + packet.size // 2:packet.pos + packet.size // 2 + 50] = bytes(50)
    path.write_bytes(data)
    return whole, path


def test_damage_inside_a_video_is_found_where_the_decoder_only_guesses(tmp_path, capsys, monkeypatch):
    (tmp_path / "videos").mkdir()
    whole, path = write_damaged(tmp_path / "videos" / "a.mp4")
    assert len(whole) == 36
    video = VideoFile(path, "a")
    for index, frame in zip((0, 11, 24, 35), video.read([0, 11]) + video.read([24, 35])):
        assert np.array_equal(frame, whole[index])
    for spoilt in ([12], [11, 14], [23, 30]):
        with pytest.raises(CorruptFrame, match=r"frame (12|14|23) of .*a.mp4 is damaged"):
            video.read(spoilt)
    with pytest.raises(UserError, match="1 problem"):
        run_main(monkeypatch, "check", "folder", tmp_path / "videos")
    assert "frame 12 of" in capsys.readouterr().out
    with pytest.raises(UserError, match="frame 12 of .*after 12 frames.*--skip_corrupt"):
        prepare_adobe240(tmp_path / "videos", tmp_path / "frames", workers=1)
    assert not (tmp_path / "frames" / "a").exists()
    prepare_adobe240(tmp_path / "videos", tmp_path / "frames", workers=1, skip_corrupt=True)
    assert "cut short: frame 12 of" in capsys.readouterr().out
    assert len(list((tmp_path / "frames" / "a").iterdir())) == 12


def test_full_disk_ends_an_extraction_without_a_damaged_folder(tmp_path, monkeypatch):
    """The system's own error for files that may not grow any further stands in for the one of a full disk."""
    write_video(tmp_path / "a.mp4", 9)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        complete, problem = extract(tmp_path / "a.mp4", tmp_path / "out" / "a", skip_corrupt=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not complete and "cannot write" in problem and os.strerror(errno.EFBIG) in problem
    assert list((tmp_path / "out").iterdir()) == []


def test_check_goes_by_the_lists_training_goes_by(adobe, tmp_path, monkeypatch):
    (adobe / LISTS["train"]).rename(adobe / "frame" / LISTS["train"])
    (adobe / LISTS["val"]).unlink()
    (adobe / "frame" / LISTS["train"]).write_text("GOPR1\nGOPR9\n")
    with pytest.raises(UserError, match="1 of 2 clips .*: GOPR9"):
        run_main(monkeypatch, "check", "adobe240", adobe)
    write_frames(tmp_path / "folder" / "clip", range(3))
    (tmp_path / "own.txt").write_text("clip\nnowhere\n")
    with pytest.raises(UserError, match="1 of 2 clips .*: nowhere"):
        run_main(monkeypatch, "check", "folder", tmp_path / "folder", "--list", tmp_path / "own.txt")


def test_frames_reduced_to_nothing_are_named(tmp_path):
    write_frames(tmp_path / "folder" / "clip", range(3))
    for factor in (3, 41):
        with pytest.raises(UserError, match=f"folder/clip: its frames are 56x40.*--reduce {factor}"):
            pack(tmp_path / "folder", tmp_path / "cache", factor)
