"""Work side by side keeps its order and stays within bounds."""

import random
import threading
import time

import pytest

from dermdistill.predict.pipeline import ahead, chunks, usable_cores


def test_results_come_in_the_order_of_their_pieces_whichever_is_ready_first():
    draws = random.Random(0)
    pauses = [draws.random() / 200 for _ in range(60)]

    def work(index):
        time.sleep(pauses[index])
        return index

    assert list(ahead(work, range(60), 4)) == list(range(60))


@pytest.mark.parametrize("threads", [1, 3])
def test_pieces_are_taken_as_they_are_needed(threads):
    taken = []

    def pieces():
        for index in range(50):
            taken.append(index)
            yield index

    for done, _ in enumerate(ahead(lambda index: index, pieces(), threads), start=1):
        assert len(taken) - done <= 2 * threads


def test_chunks_hold_everything_once_and_end_small_where_threads_share_them():
    assert list(map(len, chunks(range(40), 16))) == [16, 16, 8]
    assert list(map(len, chunks(iter(range(40)), 16, 2))) == [16, 16, 8]
    shared = list(chunks(range(100), 16, 2))
    assert [index for chunk in shared for index in chunk] == list(range(100))
    sizes = list(map(len, shared))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 16
    assert sizes[-4:] == [1] * 4


class _Told:
    """Ten things that say how many they are."""

    def __init__(self, length):
        self._length = length

    def __len__(self):
        return self._length

    def __iter__(self):
        return iter(range(10))


@pytest.mark.parametrize("told", [0, 3, 10, 10**15])
def test_chunks_of_things_that_tell_a_wrong_number_hold_everything_once(told):
    found = list(chunks(_Told(told), 4, 3))
    assert [index for chunk in found for index in chunk] == list(range(10))
    assert max(map(len, found)) <= 4


def test_a_list_that_changes_while_it_is_read_is_read_to_its_end():
    things = list(range(8))
    found = chunks(things, 4, 2)
    first = next(found)
    things.extend(range(8, 20))
    assert [*first, *(index for chunk in found for index in chunk)] == things


def test_several_threads_work_at_once():
    together = threading.Barrier(3, timeout=10)
    assert list(ahead(lambda _: together.wait() >= 0, range(3), 3)) == [True] * 3


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_comes_where_the_result_would(threads):
    def work(index):
        if index == 5:
            raise ValueError("the sixth")
        return index

    results = ahead(work, range(20), threads)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="the sixth"):
        next(results)


def test_a_caller_who_stops_early_leaves_no_work_behind():
    done = []
    results = ahead(lambda index: (time.sleep(0.01), done.append(index)), range(100), 2)
    next(results)
    results.close()
    at_close = len(done)
    time.sleep(0.05)
    assert len(done) == at_close < 10


def test_chunks_hold_everything_once():
    assert list(chunks(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunks([], 3)) == []


def test_this_process_may_use_a_core():
    assert usable_cores() >= 1
