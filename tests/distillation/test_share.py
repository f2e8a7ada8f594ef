"""Which images a share of a bank has."""

import re

import numpy as np
import pytest
import torch

from dermdistill.distillation.share import Share, subset
from dermdistill.errors import InputError


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(InputError, match=re.escape(f"K from 1 to N, such as 2/8, got '{text}'")):
        Share.read(text)


def test_parts_are_whole_batches(teachers):
    images = teachers[2][0]
    parts = [Share(number, 3).of(images, 6) for number in (1, 2, 3)]
    assert all(len(set(part.sha256s)) % 6 == 0 for part in parts[:-1])
    assert sorted(name for part in parts for name in part.ids) == sorted(images.ids)
    chosen = subset(images, images.sha256s[3:5])
    np.testing.assert_array_equal(chosen.labels, images.labels[3:5])
    assert torch.equal(chosen.pixels(np.arange(2)), images.pixels(np.arange(3, 5)))
    with pytest.raises(InputError, match="make 1 parts at most, 2 are asked for"):
        Share(1, 2).of(images, 1000)
