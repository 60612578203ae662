"""Output times, pairs and timesteps, worked out by hand."""
import dataclasses
from fractions import Fraction

import pytest

from common.errors import UserError
from media.video.source_times import SourceTimes
from media.video.timeline import Interpolation, encoder_clock, make_plan

F = Fraction


def shown(plan, size=10**6):
    return [item for segment in plan.segments(size) for item in plan.frames(segment)]


def jobs(plan, size=10**6):
    return [(item.made_as.first, item.made_as.second, item.made_as.timestep) for item in shown(plan, size)]


def test_doubling_uneven_times():
    plan = make_plan(SourceTimes(F(1, 1000), [0, 40, 100], 130), multi=2)
    assert [tick * plan.time_base * 1000 for tick in plan.ticks] == [0, 20, 40, 70, 100, 115]
    assert plan.end * plan.time_base == F(130, 1000)
    assert jobs(plan) == [(0, 1, 0), (0, 1, F(1, 2)), (1, 2, 0), (1, 2, F(1, 2)), (1, 2, 1), (1, 2, 1)]


def test_24_to_60_frames_per_second():
    plan = make_plan(SourceTimes(F(1, 24), list(range(48)), 48), fps=F(60))
    assert len(plan) == 120 and plan.end * plan.time_base == 2
    assert jobs(plan)[:6] == [(0, 1, 0), (0, 1, F(2, 5)), (0, 1, F(4, 5)), (1, 2, F(1, 5)), (1, 2, F(3, 5)), (2, 3, 0)]
    assert encoder_clock(plan)[0] == F(1, 60)


def test_ntsc_rate_and_late_start():
    plan = make_plan(SourceTimes(F(1, 90000), [45000 + 3750 * k for k in range(24)], 135000), fps=F(60000, 1001))
    times = [tick * plan.time_base for tick in plan.ticks]
    assert times == [F(1, 2) + k * F(1001, 60000) for k in range(60)]
    assert all(item.made_as.timestep == (times[k] - F(1, 2)) * 24 - item.made_as.first
               for k, item in enumerate(shown(plan)) if item.made_as.second < 23)


def test_millisecond_stamps_do_not_miss_source_frames():
    plan = make_plan(SourceTimes(F(1, 1000), [0, 42, 83, 125, 167, 208], 250), fps=F(48))
    assert [step for _, _, step in jobs(plan)][::2] == [0, 0, 0, 0, 0, 1]  # the last by its only neighbour


def test_dense_stretches_of_variable_rate_lose_no_time():
    plan = make_plan(SourceTimes(F(1, 100), [0, 1, 2, 3, 50], 100), fps=F(10))
    assert [item.on_screen for item in shown(plan)] == [0, 3, 3, 3, 3, 4, 4, 4, 4, 4]
    assert [item.made_as for item in shown(plan)][1] == Interpolation(3, 4, F(7, 47))


def test_rate_below_the_source_is_refused():
    source = SourceTimes(F(1, 30), list(range(30)), 30)
    with pytest.raises(UserError, match="30"):
        make_plan(source, fps=F(25))
    make_plan(source, fps=F(30000, 1001))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_cut_repeats_toward_the_nearer_side(size):
    plan = make_plan(SourceTimes(F(1, 25), [0, 1, 2, 3], 4, cuts={2}), multi=4)
    assert jobs(plan, size)[4:12] == [(0, 1, 1)] * 3 + [(2, 3, 0)] * 2 + [(2, 3, F(k, 4)) for k in (1, 2, 3)]


def test_lonely_frame_between_cuts_is_made_of_itself():
    plan = make_plan(SourceTimes(F(1, 25), [0, 1, 2], 3, cuts={1, 2}), multi=1)
    assert jobs(plan) == [(0, 0, 0), (1, 1, 0), (2, 2, 0)]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_repeated_frames_are_one_job(size):
    plan = make_plan(SourceTimes(F(1, 25), list(range(5)), 5, repeats={1: 0, 2: 0}), multi=2)
    found = jobs(plan, size)
    if size == 100:
        assert found == [(0, 3, 0)] * 5 + [(0, 3, F(1, 2)), (3, 4, 0), (3, 4, F(1, 2)), (3, 4, 1), (3, 4, 1)]
    # However it is cut up, times 0 to 2 show frame 0 (which 1 and 2 repeat) and only then something moves.
    assert all(step == 0 and first in (0, 1, 2) for first, _, step in found[:5])
    assert found[5][1:] == (3, F(1, 2))


def test_segments_cover_everything_once():
    plan = make_plan(SourceTimes(F(1, 100), [0, 1, 2, 3, 50, 60, 70], 100), fps=F(10))
    for size in (1, 2, 3, 7, 50):
        segments = plan.segments(size)
        assert segments[0][0] == 0 and segments[-1][1] == 7
        assert all(a[1] == b[0] for a, b in zip(segments, segments[1:]))
        assert all(plan.first_of[b] > plan.first_of[a] for a, b in segments)
        assert [item.tick for item in shown(plan, size)] == plan.ticks


def test_slow_motion_keeps_the_rate():
    source = SourceTimes(F(1, 25), [10, 11, 12], 13)
    plan = make_plan(source, multi=4, slow=True)
    assert [tick * plan.time_base for tick in plan.ticks] == [F(k, 25) for k in range(12)]
    plan = make_plan(source, fps=F(50), slow=True)
    assert [tick * plan.time_base for tick in plan.ticks] == [F(k, 25) for k in range(6)]
    assert plan.end * plan.time_base == F(6, 25)


def test_one_frame():
    plan = make_plan(SourceTimes(F(1, 25), [3], 4), multi=3)
    assert jobs(plan) == [(0, 0, 0)] * 3 and plan.end * plan.time_base == F(4, 25)


def seconds(plan):
    return [tick * plan.time_base for tick in plan.ticks]


@pytest.mark.parametrize("rate", [F(24000, 1001), F(30), F(25, 2)])
def test_constant_rate_rounded_to_milliseconds_is_constant_again(rate):
    stamps = [round(1000 * k / rate) for k in range(500)]
    source = SourceTimes(F(1, 1000), stamps, round(500_000 / rate), cuts={7}).regular(rate)
    assert [(time - source.times[0]) * source.time_base for time in source.times] == [k / rate for k in range(500)]
    assert source.end * source.time_base == 500 / rate and source.cuts == {7}
    assert seconds(make_plan(source, multi=2)) == [k / rate / 2 for k in range(1000)]


def test_variable_rate_stays_variable():
    late = [40 * k + (2 if k == 250 else 0) for k in range(500)]
    for stamps in (late, [0, 33, 67, 100, 150, 200]):
        source = SourceTimes(F(1, 1000), stamps, stamps[-1] + 40)
        assert source.regular(F(25)) is source


def test_animation_on_twos_moves_evenly():
    """Frames 2, 4, 6 are new; 7 to 12 look like 6: a pause."""
    source = SourceTimes(F(1, 24), list(range(14)), 14, cuts=set(),
                         alike={1: 0, 3: 2, 5: 4, **{k: 6 for k in range(7, 13)}}, repeats={k: 6 for k in range(7, 13)})
    plan = make_plan(source, multi=2, dedup=1)
    assert seconds(plan) == [F(k, 48) for k in range(28)] and plan.end * plan.time_base == F(14, 24)
    # Where each output frame lies in the film of distinct frames, in source frames.
    place = [item.made_as.first + (item.made_as.second - item.made_as.first) * item.made_as.timestep
             for item in shown(plan)]
    assert place == [F(k, 2) for k in range(13)] + [6] * 12 + [F(6 + 13, 2), 13, 13]
    assert jobs(plan)[:5] == [(0, 2, F(k, 4)) for k in range(4)] + [(2, 4, 0)]
    assert jobs(plan)[1] == jobs(make_plan(source, fps=F(48), dedup=1))[1] == (0, 2, F(1, 4))
    assert jobs(make_plan(source, multi=2))[1] == (0, 1, F(1, 2))  # nothing without --dedup


def test_frames_that_only_repeat_do_not_count_as_lost():
    source = SourceTimes(F(1, 60), list(range(60)), 60, alike={k: k - k % 2 for k in range(1, 60, 2)})
    with pytest.raises(UserError, match="60"):
        make_plan(source, fps=F(48))
    assert jobs(make_plan(source, fps=F(48), dedup=1))[:3] == [(0, 2, 0), (0, 2, F(5, 8)), (2, 4, F(1, 4))]


def test_part_of_a_video_keeps_its_frames_times_scenes_and_repeats():
    source = SourceTimes(F(1, 10), [5, 15, 25, 35, 45, 55], 65, cuts={4}, repeats={1: 0, 2: 0})
    part = source.part(16, 50)
    assert (part.times, part.end, part.numbers) == ([15, 25, 35, 45], 55, [1, 2, 3, 4])
    assert dataclasses.replace(source, end=165).part(16, 60).end == 60  # what stays for long may end earlier
    assert part.cuts == {3} and part.repeats == {1: 0}
    plan = make_plan(part, multi=2)
    assert jobs(plan) == [(1, 3, 0)] * 3 + [(1, 3, F(1, 2)), (1, 3, 1), (1, 3, 1), (4, 4, 0), (4, 4, 0)]
    assert seconds(plan) == [F(k, 20) for k in (30, 40, 50, 60, 70, 80, 90, 100)]
    assert source.part(0, 100).times == source.times
    for start, end in ((70, 80), (20, 20), (0, 5)):
        with pytest.raises(UserError, match="from 0.5 to 6.5 seconds"):
            source.part(start, end)


def test_so_many_frames_shown_at_a_rate():
    """--multi 3 --fps 60 of 25 frames per second: 75 shown at 60, so time is stretched by 5/4."""
    plan = make_plan(SourceTimes(F(1, 25), list(range(7, 32)), 32), multi=3, fps=F(60))
    assert plan.stretch == F(5, 4) and seconds(plan) == [F(k, 60) for k in range(75)]
    assert jobs(plan)[:4] == [(0, 1, 0), (0, 1, F(1, 3)), (0, 1, F(2, 3)), (1, 2, 0)]
    plan = make_plan(SourceTimes(F(1, 30), list(range(7, 32)), 32), multi=2, fps=F(60))
    assert plan.stretch == 1 and seconds(plan)[0] == F(7, 30)


@pytest.mark.parametrize("time_base", [F(1, 10**9), F(1, 2**31 - 1), F(1, 90000), F(1001, 30000), F(100, 3)])
@pytest.mark.parametrize("options", [{"multi": 4}, {"multi": 1024, "slow": True}, {"fps": F(60000, 1001)},
                                     {"fps": F(60000, 1001), "slow": True}, {"multi": 3, "fps": F(50)}])
@pytest.mark.parametrize("uneven", [0, 1])
def test_any_time_base_gives_one_that_containers_hold(time_base, options, uneven):
    frame = max(2, round(F(1, 24) / time_base))
    times = [frame * 3 + k * frame + uneven * (k == 5) for k in range(12)]
    source = SourceTimes(time_base, times, times[-1] + frame)
    options = {**options, "fps": max(options["fps"], source.rate)} if "fps" in options else options
    plan = make_plan(source, **options)
    clock, _, shown_at = encoder_clock(plan)
    for tick in (plan.time_base, clock):
        assert tick.numerator < 2**31 and tick.denominator <= 10**9
    assert all(abs(time * clock - (tick - plan.ticks[0]) * plan.time_base) < F(1, 10**4)
               for time, tick in zip(shown_at, plan.ticks))
    assert clock.denominator < 2**16 or shown_at == list(range(len(plan)))
    assert all(a < b for a, b in zip(plan.ticks, [*plan.ticks[1:], plan.end]))
    start = 0 if plan.stretch != 1 else times[0] * time_base
    assert abs(seconds(plan)[0] - start) < F(1, 10**4)
    length = (plan.end - plan.ticks[0]) * plan.time_base / plan.stretch
    assert abs(length / source.duration - 1) < F(1, 1000)
