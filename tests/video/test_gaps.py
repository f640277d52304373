"""reelworks.video.gaps: which times of a program stream are its frames' own."""

from __future__ import annotations

from fractions import Fraction

from av.packet import Packet

from reelworks.video.gaps import continued_time, own_times

STEP = Fraction(3600)


def packets(*times: int | None) -> list[Packet]:
    """One for each time of decoding, in steps; shown a step later."""
    made = []
    for time in times:
        packet = Packet(b"picture")
        if time is not None:
            packet.dts, packet.pts = time * 3600, (time + 1) * 3600
        made.append(packet)
    return made


def told(*times: int | None) -> list[int | None]:
    """What is left of the times of decoding, in steps."""
    return [None if one.pts is None else one.dts // 3600 for one in own_times(iter(packets(*times)), STEP)]


def test_times_that_follow_each_other_are_their_own() -> None:
    assert told(5, 6, None, 8, None, None, 11, 12) == [5, 6, None, 8, None, None, 11, 12]


def test_a_torn_frame_has_the_next_ones_time_and_loses_it() -> None:
    assert told(0, 1, 3, 3, 4) == [0, 1, None, 3, 4], "the next one has it, too"
    assert told(0, 1, 3, None, 4) == [0, 1, None, None, 4], "the next one has none"


def test_a_run_of_torn_frames_loses_all_that_are_not_its_own() -> None:
    assert told(0, 1, 3, 4, 5, 5, 6) == [0, 1, None, None, None, 5, 6]
    assert told(0, 1, 3, None, 5, 5, 6) == [0, 1, None, None, None, 5, 6]


def test_a_torn_frame_at_the_end_loses_its_time() -> None:
    assert told(0, 1, 2, 4) == [0, 1, 2, None]


def test_a_gap_that_stays_is_one_of_the_stream() -> None:
    after = list(range(3, 60))
    assert told(0, 1, *after) == [0, 1, *after]


def test_other_distances_than_the_usual_one_are_left_alone() -> None:
    pulled_down = [0, 1.5, 2.5, 4, 5, 6.5]  # three fields and two in turn
    made = []
    for time in pulled_down:
        packet = Packet(b"picture")
        packet.dts = packet.pts = int(time * 3600)
        made.append(packet)
    assert [one.pts for one in own_times(iter(made), STEP)] == [int(time * 3600) for time in pulled_down]
    assert told(0, 1, 9, 10, 4) == [0, 1, 9, 10, 4]


def test_a_frame_without_a_time_comes_a_step_after_the_last_one() -> None:
    assert continued_time(None, 7200, STEP) == 10_800
    assert continued_time(9000, 7200, STEP) == 9000
    assert continued_time(7000, 7200, STEP) == 7201, "the rate was off by some ticks"
    assert continued_time(90, 7200, STEP) == 90, "a jump back is told as it is"
