"""The video script as a user runs it: killed at any moment, shared by processes, the bytes are the same."""
import os
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from model import SAFA
from model.checkpoint import save_model

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A short moving video, a small network, and the file an uninterrupted run makes."""
    folder = tmp_path_factory.mktemp("video")
    torch.manual_seed(0)
    save_model(SAFA(channels=8, blocks=2), folder / "small.safetensors")
    texture = np.kron(np.random.default_rng(0).integers(0, 255, (8, 24, 3)), np.ones((6, 6, 1))).astype(np.uint8)
    with av.open(str(folder / "in.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(24):
            frame = np.ascontiguousarray(texture[:, 2 * index:2 * index + 64])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        file.mux(stream.encode())
    subprocess.run([sys.executable, *command(folder, "whole.mp4")], cwd=ROOT, env=ENVIRONMENT, check=True, timeout=120)
    return folder


def command(folder, name):
    return ["inference_video.py", "--video", str(folder / "in.mp4"), "--model", str(folder / "small.safetensors"),
            "--output", str(folder / name), "--upscale", "2", "--segment", "6", "--device", "cpu"]


def test_the_result_plays_and_lasts_as_long(job):
    with av.open(str(job / "whole.mp4")) as file:
        frames = list(file.decode(video=0))
    assert len(frames) == 48 and (frames[0].width, frames[0].height) == (128, 96)
    assert [round(frame.time * 20) for frame in frames] == list(range(48))


def test_killed_at_any_moment_the_same_command_gives_the_same_bytes(job):
    # Memory is filled with something, which shows in the bytes if an encoder reads what it has not written.
    process = subprocess.Popen([sys.executable, *command(job, "killed.mp4")], cwd=ROOT, stderr=subprocess.DEVNULL,
                               env={**ENVIRONMENT, "MALLOC_PERTURB_": "85"})
    limit = time.monotonic() + 60
    known = {"in.mp4", "small.safetensors", "whole.mp4"}
    while time.monotonic() < limit and process.poll() is None:
        begun = [path for path in job.iterdir() if path.name not in known]
        if any(path.is_dir() and len(list(path.iterdir())) > 2 for path in begun):
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (job / "killed.mp4").exists() or process.returncode == 0
    subprocess.run([sys.executable, *command(job, "killed.mp4")], cwd=ROOT, env=ENVIRONMENT, check=True, timeout=120)
    assert (job / "killed.mp4").read_bytes() == (job / "whole.mp4").read_bytes()


def test_two_processes_make_the_same_file(job):
    subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
                    *command(job, "shared.mp4")], cwd=ROOT, env=ENVIRONMENT, check=True, timeout=200)
    assert (job / "shared.mp4").read_bytes() == (job / "whole.mp4").read_bytes()
    assert sorted(path.name for path in job.iterdir() if "shared" in path.name) == ["shared.mp4"]  # no parts left


def test_mistakes_are_one_line_and_code_2(job):
    for options, word in ((["--video", "gone.mp4"], "gone.mp4"), (["--video", str(ROOT / "README.md")], "README.md")):
        done = subprocess.run([sys.executable, *command(job, "x.mp4"), *options], cwd=ROOT, env=ENVIRONMENT,
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and word in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr
