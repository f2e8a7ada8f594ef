import asyncio
import threading

import numpy as np
import pytest

from dermdistill.predict.predictor import Loaded, Result
from dermdistill.serve.batching import Batcher, Pipeline
from dermdistill.serve.errors import Refused
from dermdistill.serve.settings import Limits, Settings
from dermdistill.serve.uploads import Upload


def _image(name="a"):
    return Loaded(name, np.zeros((4, 4, 3), np.uint8), "ok", "")


class Judge:
    """A model that waits until it is let go, and keeps the size of each batch."""

    def __init__(self):
        self.began, self.go, self.sizes = threading.Event(), threading.Event(), []

    def __call__(self, images):
        self.sizes.append(len(images))
        self.began.set()
        assert self.go.wait(20)
        return [Result(image.name, "ok", (0.5, 0.5), 0.5, "", "") for image in images]


def test_what_waits_is_judged_together_in_order_and_within_the_bound():
    judge, seen = Judge(), []
    batcher = Batcher(judge, 4, seen.append)
    first = batcher.submit(_image("0"))
    assert judge.began.wait(20)
    others = [batcher.submit(_image(str(number))) for number in range(1, 10)]
    judge.go.set()
    assert [future.result(20).file for future in (first, *others)] == [str(number) for number in range(10)]
    assert judge.sizes == seen == [1, 4, 4, 1]
    batcher.close()


def test_what_was_given_up_is_not_judged():
    judge = Judge()
    batcher = Batcher(judge, 4, lambda size: None)
    first = batcher.submit(_image())
    assert judge.began.wait(20)
    gone = [batcher.submit(_image()) for _ in range(4)]
    kept = batcher.submit(_image("kept"))
    assert all(future.cancel() for future in gone)
    judge.go.set()
    assert first.result(20).status == "ok"
    assert kept.result(20).file == "kept"
    assert judge.sizes == [1, 1]
    batcher.close()


def test_closing_judges_what_waits_and_takes_no_more():
    judge = Judge()
    batcher = Batcher(judge, 2, lambda size: None)
    waiting = [batcher.submit(_image()) for _ in range(5)]
    assert judge.began.wait(20)
    closer = threading.Thread(target=batcher.close)
    closer.start()
    judge.go.set()
    closer.join(20)
    assert [future.result(0).status for future in waiting] == ["ok"] * 5
    assert not batcher.is_alive
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(_image())


def test_a_batch_that_fails_tells_its_requests_and_the_next_is_judged():
    answers = [ValueError("broken"), None]

    def judge(images):
        error = answers.pop(0)
        if error:
            raise error
        return [Result("", "ok", None, None, "", "")] * len(images)

    batcher = Batcher(judge, 2, lambda size: None)
    with pytest.raises(ValueError, match="broken"):
        batcher.submit(_image()).result(20)
    assert batcher.submit(_image()).result(20).status == "ok"
    batcher.close()


def test_a_judge_that_loses_an_image_is_told():
    batcher = Batcher(lambda images: [], 2, lambda size: None)
    with pytest.raises(ValueError, match="shorter"):
        batcher.submit(_image()).result(20)
    batcher.close()


def test_many_requests_at_once_get_the_predictors_numbers(predictor, photo):
    images, sizes = [photo(seed) for seed in range(40)], []
    expected = [result.probabilities for result in predictor.predict(images)]
    limits = Limits(queue=200)

    async def ask():
        pipeline = Pipeline(predictor, Settings(batch_size=8, limits=limits), sizes.append)
        pipeline.start()
        asked = [pipeline.judge([Upload("a", one), Upload("b", b"no image"), Upload("c", one)]) for one in images]
        try:
            return await asyncio.gather(*asked)
        finally:
            assert pipeline.images == 0
            pipeline.close()

    found = asyncio.run(ask())
    for one, probabilities in zip(found, expected, strict=True):
        np.testing.assert_allclose([one[0].probabilities, one[2].probabilities], [probabilities] * 2, atol=1e-6)
        assert one[1].status == "not_an_image"
    assert sum(sizes) == 80
    assert max(sizes) <= 8
    assert len(sizes) < 80, "nothing was judged together"


def test_a_full_queue_and_a_slow_model_are_told(predictor, photo, monkeypatch):
    judge = Judge()
    monkeypatch.setattr(predictor, "judge", judge)
    limits = Limits(queue=2, images=2, answer_seconds=0.5)

    async def ask():
        pipeline = Pipeline(predictor, Settings(limits=limits), lambda size: None)
        pipeline.start()
        upload = Upload("a", photo())
        slow = asyncio.create_task(pipeline.judge([upload, upload]))
        await asyncio.to_thread(judge.began.wait, 20)
        with pytest.raises(Refused) as full:
            await pipeline.judge([upload])
        with pytest.raises(Refused) as late:
            await slow
        assert pipeline.images == 0
        judge.go.set()
        assert (await pipeline.judge([upload]))[0].status == "ok"
        pipeline.close()
        return full.value, late.value

    full, late = asyncio.run(ask())
    assert full.problem.status == late.problem.status == 503
    assert full.headers["Retry-After"] == "1"
    assert full.problem.detail == "1 images while 2 others are in work"
    assert "not judged within 0.5 s" in late.problem.detail
