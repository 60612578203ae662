"""The segments that a video is made in: jobs that stop and go on, or are shared, give the same bytes."""
import time
from fractions import Fraction as F

import pytest
import torch
from video_files import BlendPredictor, decode, moving_picture, run, write_levels, write_video

from common.errors import UserError
from media.video import job
from media.video.job import VideoJob
from media.video.options import Options
from model import Predictor, SAFASmall


def finished(output):
    """The finished segments of an interrupted job."""
    return sorted(output.with_name(output.name + ".parts").glob("*/[0-9]*.json"))


def test_interrupted_job_goes_on_and_gives_the_same_bytes(tmp_path):
    source = write_video(tmp_path / "a.mp4", [moving_picture(2 * k) for k in range(10)], audio=(0.4, "aac"))
    run(source, tmp_path / "whole.mp4", segment=4)
    output = tmp_path / "b.mp4"
    for count in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(source, output, BlendPredictor(6, lambda: len(finished(output)) == count), segment=4)  # noqa: B023
        assert not output.exists() and len(finished(output)) == count
    rest = BlendPredictor()
    notes = run(source, output, rest, segment=4)
    assert "going on: 2 of 5" in notes and len(rest.made) == 19 - 8
    assert output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_what_a_network_keeps_of_earlier_frames_ends_with_a_segment(tmp_path):
    """Frames are restored by those before them: were it so across a seam, a job that goes on would give other bytes."""
    torch.manual_seed(0)
    predictor = Predictor(SAFASmall(16, 1, 1, 1), device="cpu")

    class Interrupted(BlendPredictor):
        encode = staticmethod(predictor.encode)

        def frames_between(self, pairs, packing=None):
            yield from predictor.frames_between(pairs, packing)
            self.made.append(packing)
            limit = time.monotonic() + 20
            while len(self.made) == 2 and time.monotonic() < limit:  # the first segment is being written
                if finished(tmp_path / "b.mkv"):
                    raise KeyboardInterrupt
                time.sleep(0.005)

    source = write_video(tmp_path / "a.mkv", [moving_picture(2 * k, 24, 16) for k in range(6)], codec="ffv1",
                         pix_fmt="yuv444p")
    options = {"codec": "ffv1", "segment": 4, "upscale": 4}
    run(source, tmp_path / "whole.mkv", predictor, **options)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "b.mkv", Interrupted(), **options)
    assert "going on" in run(source, tmp_path / "b.mkv", predictor, **options)
    assert (tmp_path / "b.mkv").read_bytes() == (tmp_path / "whole.mkv").read_bytes()


def test_nothing_but_the_parts_lies_about_while_they_are_joined(tmp_path, monkeypatch):
    """So what a process leaves that is killed then goes with the parts."""
    source = write_levels(tmp_path / "a.mp4", 4)
    join, seen = job.join, []

    def watched(*arguments):
        damaged = join(*arguments)
        seen.extend(sorted(path.name for path in tmp_path.iterdir()))
        return damaged

    monkeypatch.setattr(job, "join", watched)
    run(source, tmp_path / "b.mp4")
    assert seen == ["a.mp4", "b.mp4.parts"]


def test_parts_of_another_job_are_neither_used_nor_lost(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 8)
    output = tmp_path / "b.mp4"
    with pytest.raises(KeyboardInterrupt):
        run(source, output, BlendPredictor(6, lambda: finished(output)), segment=4)
    job = VideoJob(source, output, Options(upscale=1, segment=4, crf=30))
    notes = []
    job.run(BlendPredictor(), say=notes.append)
    assert "another job" in notes[-1] and "going on" not in "".join(notes)
    assert "going on" in run(source, output, segment=4)


def test_a_mistake_that_is_found_late_leaves_nothing_behind(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 8)
    output = tmp_path / "b.mp4"
    for mistake in ({"start": F(10)}, {"fps": F(20)}):
        with pytest.raises(UserError):
            run(source, output, **mistake)
        assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    with pytest.raises(KeyboardInterrupt):
        run(source, output, BlendPredictor(6, lambda: finished(output)), segment=4)
    with pytest.raises(UserError):
        run(source, output, start=F(10))
    assert len(finished(output)) == 1  # of another job
    assert "going on: 1 of 4" in run(source, output, segment=4)


def test_damaged_segment_is_made_again(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 8)
    run(source, tmp_path / "whole.mp4", segment=4)
    output = tmp_path / "b.mp4"
    with pytest.raises(KeyboardInterrupt):
        run(source, output, BlendPredictor(10, lambda: len(finished(output)) == 2), segment=4)
    piece = finished(output)[0].with_suffix(".mkv")
    piece.write_bytes(piece.read_bytes()[:50])
    assert "going on: 1 of 4" in run(source, output, segment=4)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_two_ranks_share_the_segments(tmp_path):
    import threading
    source = write_video(tmp_path / "a.mp4", [moving_picture(2 * k) for k in range(10)])
    run(source, tmp_path / "whole.mp4", segment=4)
    meeting, predictors = threading.Barrier(2), [BlendPredictor(), BlendPredictor()]

    def agree(problem):
        meeting.wait()
        return problem

    threads = [threading.Thread(target=VideoJob(source, tmp_path / "b.mp4", Options(upscale=1, segment=4)).run,
                                args=(predictors[rank], None, rank, 2, agree)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert [len(predictor.made) for predictor in predictors] == [11, 8]


def test_second_process_on_the_same_output_is_refused(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 4)
    job, second = (VideoJob(source, tmp_path / "b.mp4", Options(upscale=1)) for _ in range(2))

    class Reenter(BlendPredictor):
        def frames_between(self, *arguments):
            with pytest.raises(UserError, match="another process"):
                second.run(BlendPredictor())
            return super().frames_between(*arguments)

    job.run(Reenter())
    assert len(decode(tmp_path / "b.mp4")) == 8
