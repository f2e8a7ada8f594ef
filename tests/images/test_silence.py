"""Warnings are ignored within blocks, and only there, however the blocks of several threads overlap."""

import contextlib
import warnings

import pytest

from dermdistill.images.silence import silent


def test_overlapping_blocks_are_silent_to_their_end_and_leave_the_filters_as_they_were():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        first, second = contextlib.ExitStack(), contextlib.ExitStack()
        first.enter_context(silent())
        second.enter_context(silent())
        first.close()  # before the second one, as on two threads
        warnings.warn("within the second block", stacklevel=1)
        second.close()
        assert warnings.filters == before
        assert not heard
        warnings.warn("after both", stacklevel=1)
        assert [str(found.message) for found in heard] == ["after both"]


def test_a_block_that_fails_ends_its_silence():
    before = list(warnings.filters)
    with pytest.raises(ValueError, match="within"), silent():
        raise ValueError("within")
    assert warnings.filters == before
