"""Output times, pairs and timesteps, worked out by hand."""
from fractions import Fraction

import pytest

from common.errors import UserError
from media.video.timeline import Job, SourceTimes, encoder_clock, plan_fps, plan_multi

F = Fraction


def shown(plan, size=10**6):
    return [item for segment in plan.segments(size) for item in plan.frames(segment)]


def jobs(plan, size=10**6):
    return [(item.job.first, item.job.second, item.job.timestep) for item in shown(plan, size)]


def test_doubling_uneven_times():
    plan = plan_multi(SourceTimes(F(1, 1000), [0, 40, 100], 130), 2)
    assert [tick * plan.time_base * 1000 for tick in plan.ticks] == [0, 20, 40, 70, 100, 115]
    assert plan.end * plan.time_base == F(130, 1000)
    assert jobs(plan) == [(0, 1, 0), (0, 1, F(1, 2)), (1, 2, 0), (1, 2, F(1, 2)), (1, 2, 1), (1, 2, 1)]


def test_24_to_60_frames_per_second():
    plan = plan_fps(SourceTimes(F(1, 24), list(range(48)), 48), F(60))
    assert len(plan) == 120 and plan.end * plan.time_base == 2
    assert jobs(plan)[:6] == [(0, 1, 0), (0, 1, F(2, 5)), (0, 1, F(4, 5)), (1, 2, F(1, 5)), (1, 2, F(3, 5)), (2, 3, 0)]
    assert encoder_clock(plan) == (F(1, 60), 1)


def test_ntsc_rate_and_late_start():
    plan = plan_fps(SourceTimes(F(1, 90000), [45000 + 3750 * k for k in range(24)], 135000), F(60000, 1001))
    times = [tick * plan.time_base for tick in plan.ticks]
    assert times == [F(1, 2) + k * F(1001, 60000) for k in range(60)]
    assert all(item.job.timestep == (times[k] - F(1, 2)) * 24 - item.job.first
               for k, item in enumerate(shown(plan)) if item.job.second < 23)


def test_millisecond_stamps_do_not_miss_source_frames():
    plan = plan_fps(SourceTimes(F(1, 1000), [0, 42, 83, 125, 167, 208], 250), F(48))
    assert [step for _, _, step in jobs(plan)][::2] == [0, 0, 0, 0, 0, 1]  # the last by its only neighbour


def test_dense_stretches_of_variable_rate_lose_no_time():
    plan = plan_fps(SourceTimes(F(1, 100), [0, 1, 2, 3, 50], 100), F(10))
    assert [item.source for item in shown(plan)] == [0, 3, 3, 3, 3, 4, 4, 4, 4, 4]
    assert [item.job for item in shown(plan)][1] == Job(3, 4, F(7, 47))


def test_rate_below_the_source_is_refused():
    source = SourceTimes(F(1, 30), list(range(30)), 30)
    with pytest.raises(UserError, match="30"):
        plan_fps(source, F(25))
    plan_fps(source, F(30000, 1001))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_cut_repeats_toward_the_nearer_side(size):
    plan = plan_multi(SourceTimes(F(1, 25), [0, 1, 2, 3], 4, cuts={2}), 4)
    assert jobs(plan, size)[4:12] == [(0, 1, 1)] * 3 + [(2, 3, 0)] * 2 + [(2, 3, F(k, 4)) for k in (1, 2, 3)]


def test_lonely_frame_between_cuts_is_made_of_itself():
    plan = plan_multi(SourceTimes(F(1, 25), [0, 1, 2], 3, cuts={1, 2}), 1)
    assert jobs(plan) == [(0, 0, 0), (1, 1, 0), (2, 2, 0)]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_repeated_frames_are_one_job(size):
    plan = plan_multi(SourceTimes(F(1, 25), list(range(5)), 5, repeats={1: 0, 2: 0}), 2)
    found = jobs(plan, size)
    if size == 100:
        assert found == [(0, 3, 0)] * 5 + [(0, 3, F(1, 2)), (3, 4, 0), (3, 4, F(1, 2)), (3, 4, 1), (3, 4, 1)]
    # However it is cut up, times 0 to 2 show frame 0 (which 1 and 2 repeat) and only then something moves.
    assert all(step == 0 and first in (0, 1, 2) for first, _, step in found[:5])
    assert found[5][1:] == (3, F(1, 2))


def test_segments_cover_everything_once():
    plan = plan_fps(SourceTimes(F(1, 100), [0, 1, 2, 3, 50, 60, 70], 100), F(10))
    for size in (1, 2, 3, 7, 50):
        segments = plan.segments(size)
        assert segments[0][0] == 0 and segments[-1][1] == 7
        assert all(a[1] == b[0] for a, b in zip(segments, segments[1:]))
        assert all(plan.first_of[b] > plan.first_of[a] for a, b in segments)
        assert [item.tick for item in shown(plan, size)] == plan.ticks


def test_slow_motion_keeps_the_rate():
    source = SourceTimes(F(1, 25), [10, 11, 12], 13)
    plan = plan_multi(source, 4, slow=True)
    assert [tick * plan.time_base for tick in plan.ticks] == [F(k, 25) for k in range(12)]
    plan = plan_fps(source, F(50), slow=True)
    assert [tick * plan.time_base for tick in plan.ticks] == [F(k, 25) for k in range(6)]
    assert plan.end * plan.time_base == F(6, 25)


def test_one_frame():
    plan = plan_multi(SourceTimes(F(1, 25), [3], 4), 3)
    assert jobs(plan) == [(0, 0, 0)] * 3 and plan.end * plan.time_base == F(4, 25)
