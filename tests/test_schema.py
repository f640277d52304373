"""reelworks.schema: ids that name the same thing for ever."""

from __future__ import annotations

from reelworks.schema import clip_id, source_id


def test_ids_never_change_between_versions() -> None:
    source = source_id("raw", "a/b.mp4", "0123")
    assert source == "f4e92414-a3ba-5758-a934-1dff8ff09f38"
    assert clip_id(source, 0, 512, "1/12800") == "3d4df3d5-9f46-5bff-bd69-a8ee6ca5baa2"


def test_every_part_of_an_id_counts_and_parts_do_not_run_together() -> None:
    sources = [source_id(*parts) for parts in (("a", "bc", "d"), ("ab", "c", "d"), ("a", "b", "cd"), ("a", "bc", "e"))]
    assert len(set(sources)) == 4
    clips = [(0, 5, "1/8"), (0, 6, "1/8"), (1, 5, "1/8"), (0, 5, "1/9"), (5, 5, "1/8")]
    assert len({clip_id(sources[0], *clip) for clip in clips}) == 5
    assert clip_id(sources[0], 0, 5, "1/8") != clip_id(sources[1], 0, 5, "1/8")
