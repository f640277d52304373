import numpy as np
import pytest

from reelworks.video.quality import psnr_db


def test_psnr_equals_its_closed_form_and_honours_the_mask():
    original = np.zeros((1, 2, 2, 3), np.uint8)
    copy = original.copy()
    copy[0, 0, 0] = 51  # one pixel of four off by a fifth of the range
    assert psnr_db(original, copy) == pytest.approx(10 * np.log10(255**2 / (51**2 / 4)))
    mask = np.zeros((1, 2, 2), bool)
    mask[0, 0, 0] = True
    assert psnr_db(original, copy, mask) == pytest.approx(10 * np.log10(25))
    assert psnr_db(original, original) == 99.0
    with pytest.raises(ValueError, match="empty"):
        psnr_db(original, copy, ~np.ones((1, 2, 2), bool))
