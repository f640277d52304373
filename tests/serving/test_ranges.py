import pytest

from serving.ranges import UnsatisfiableRange, byte_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 10)),
        ("bytes=90-500", (90, 10)),
        ("bytes=-1", (99, 1)),
        ("bytes=-500", (0, 100)),
        ("bytes= 1 - 2", (1, 2)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("nonsense", None),
    ],
)
def test_a_range_gives_exactly_the_bytes_of_rfc_9110(header, expected):
    assert byte_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_the_object_is_unsatisfiable(header):
    with pytest.raises(UnsatisfiableRange):
        byte_range(header, 100)
