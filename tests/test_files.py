"""Files that appear whole or not at all, on systems of every kind."""
import errno
import os

import pytest

from common.errors import UserError
from common.files import atomic_path


@pytest.fixture
def strict_fsync(monkeypatch):
    """As on Windows: a descriptor that is open for reading only cannot be flushed."""
    fcntl = pytest.importorskip("fcntl")
    flush, flushed = os.fsync, []

    def fsync(descriptor: int) -> None:
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        if mode == os.O_RDONLY and not os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return flushed


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at descriptors as Linux shows them")
def test_file_and_folder_are_flushed_through_descriptors_that_may_write(tmp_path, strict_fsync):
    with atomic_path(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    assert len(strict_fsync) == 2 and strict_fsync[1] == str(tmp_path / "new"), "the file, then its folder"


def test_names_too_long_are_one_error(tmp_path):
    for path in (tmp_path / ("x" * 300), tmp_path / ("x" * 250), tmp_path / ("x" * 300) / "a.txt"):
        with pytest.raises(UserError, match="cannot write .*too long"), atomic_path(path) as temporary:
            temporary.write_text("whole")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UserError, match="No space left"), atomic_path(path) as temporary:
        temporary.write_text("ne")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]
