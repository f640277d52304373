import pytest

from reelworks.evaluate.figures import Proportion, attribute_proportions, macro


def test_wilson_interval_equals_the_published_example():
    # Newcombe 1998, table I: 81 of 263 -> 0.2553 to 0.3662
    low, high = Proportion(81, 263).interval()
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_wilson_interval_stays_inside_zero_and_one_at_the_ends():
    assert Proportion(0, 10).interval()[0] == pytest.approx(0.0, abs=1e-12)
    assert Proportion(10, 10).interval()[1] == pytest.approx(1.0)
    assert Proportion(0, 0).interval() is None and Proportion(0, 0).rate is None


def test_unreadable_counts_as_wrong_and_unnamed_does_not_count():
    wanted = [{"colour": "red", "size": None}, {"colour": "blue", "size": "small"}]
    read = [{"colour": None, "size": "large"}, {"colour": "blue", "size": "small"}]
    found = attribute_proportions(wanted, read, ("colour", "size"))
    assert found == {"colour": Proportion(1, 2), "size": Proportion(1, 1)}
    assert macro(found) == 0.75


def test_pairs_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="pair up"):
        attribute_proportions([{}], [], ("colour",))
