"""`make` says what the environment takes before anything is downloaded, and takes the build of PyTorch asked for."""
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def make(tmp_path):
    """Run make with an environment whose Python only writes down how it is called; it says that torch is missing."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "called $@"\ncase "$*" in *" show "*) exit 1;; esac\n')
    python.chmod(0o755)

    def run(*arguments):
        command = ["make", f"VENV={tmp_path / 'venv'}", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    return run


@pytest.mark.parametrize("options,index", [(["TORCH=cpu"], "https://download.pytorch.org/whl/cpu"), ([], None)])
def test_gigabytes_are_said_before_the_download(make, options, index, tmp_path):
    result = make("venv", *options, "DISK_GB=0.001")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    said = next(i for i, line in enumerate(lines) if "GB to download" in line and not line.startswith("called"))
    installs = [i for i, line in enumerate(lines) if line.startswith("called") and " install " in line]
    assert len(installs) == 2 and said < installs[0]
    torch, rest = (lines[i] for i in installs)
    assert f"--index-url {index}" in torch if index else "--index-url" not in torch
    assert "torch>=" in torch and "torchvision>=" in torch and rest.endswith("requirements-dev.txt")
    assert (tmp_path / "venv" / ".requirements-installed").exists()
    assert "install" not in make("venv", *options).stdout  # once is enough


def test_a_disk_that_is_too_small_is_said_in_place_of_the_download(make):
    result = make("venv", "DISK_GB=1e9")
    assert result.returncode != 0 and "TORCH=cpu" in result.stderr and " install " not in result.stdout
    assert "TORCH=cpu" not in make("venv", "TORCH=cpu", "DISK_GB=1e9").stderr
