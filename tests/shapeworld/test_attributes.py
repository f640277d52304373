from itertools import combinations

from reelworks.shapeworld.attributes import Colour, Motion, Shape, is_held_out, triples


def test_at_least_15_percent_of_the_triples_are_kept_out_of_training() -> None:
    held_out, kept = triples("unseen"), triples("train")
    assert len(held_out) >= 0.15 * len(triples("any")) == 0.15 * 90
    assert sorted(held_out + kept) == sorted(triples("any"))
    assert all(is_held_out(triple) for triple in held_out)
    assert not any(is_held_out(triple) for triple in kept)


def test_every_pair_of_values_is_still_seen_in_training() -> None:
    kept = triples("train")
    for (i, first), (j, second) in combinations(enumerate((Colour, Shape, Motion)), 2):
        pairs = {(triple[i], triple[j]) for triple in kept}
        assert len(pairs) == len(first) * len(second)
