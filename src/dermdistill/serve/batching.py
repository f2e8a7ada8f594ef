"""Micro-batches: decoders in a few threads, and one thread that runs the graph on whatever waits."""

import asyncio
import io
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from dermdistill.predict.predictor import Loaded, Predictor, Result
from dermdistill.serve.errors import overloaded
from dermdistill.serve.settings import Settings
from dermdistill.serve.uploads import Upload


@dataclass(frozen=True)
class _Waiting:
    image: Loaded
    result: Future[Result] = field(default_factory=Future)


class Batcher:
    """One thread that judges loaded images, as many at once as wait, up to a bound.

    Args:
        judge: gives a result for each of several images, as `Predictor.judge` does.
        size: the most images at once.
        watch: is told the number of images of each batch.
    """

    def __init__(self, judge: Callable[[Sequence[Loaded]], list[Result]], size: int, watch: Callable[[int], object]):
        self._judge, self._size, self._watch = judge, size, watch
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="dermdistill-graph", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread works and takes images."""
        return self._thread.is_alive() and not self._closing

    def submit(self, image: Loaded) -> Future[Result]:
        """Let an image wait for its turn.

        Raises:
            RuntimeError: after `close`.
        """
        waiting = _Waiting(image)
        with self._changed:
            if self._closing:
                raise RuntimeError("the batcher is closed")
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.result

    def close(self) -> None:
        """Judge what waits, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            self._watch(len(batch))
            try:
                results = self._judge([one.image for one in batch])
                for one, result in zip(batch, results, strict=True):
                    one.result.set_result(result)
            except Exception as error:  # the requests of this batch fail, the thread goes on
                for one in batch:
                    if not one.result.done():
                        one.result.set_exception(error)

    def _next(self) -> list[_Waiting]:
        """The next batch without what was given up meanwhile; empty when there will be none."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return []
                taken = [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
                if wanted := [one for one in taken if one.result.set_running_or_notify_cancel()]:
                    return wanted


@dataclass(frozen=True)
class _Threads:
    decoders: ThreadPoolExecutor
    batcher: Batcher


class Pipeline:
    """From uploads to results; lives in the event loop's thread, and works between `start` and `close`.

    Args:
        predictor: the model.
        settings: its limits.
        watch: is told the number of images of each batch.
    """

    def __init__(self, predictor: Predictor, settings: Settings, watch: Callable[[int], object]):
        self._predictor, self._settings, self._watch = predictor, settings, watch
        self._threads: _Threads | None = None
        self.images = 0
        """So many images are decoded, wait, or are judged now."""

    def start(self) -> None:
        """Start the threads."""
        decoders = ThreadPoolExecutor(self._settings.decoders, thread_name_prefix="dermdistill-decode")
        batcher = Batcher(lambda images: list(self._predictor.judge(images)), self._settings.batch_size, self._watch)
        self._threads = _Threads(decoders, batcher)

    def close(self) -> None:
        """Judge what waits, then end the threads."""
        if self._threads is not None:
            self._threads.decoders.shutdown()
            self._threads.batcher.close()

    @property
    def is_ready(self) -> bool:
        """Whether images are taken."""
        return self._threads is not None and self._threads.batcher.is_alive

    async def judge(self, uploads: Sequence[Upload]) -> list[Result]:
        """The results of a request's images, in order.

        Raises:
            Refused: the queue is full, or the answer takes too long.
            IntegrityError: the model's graph fails.
            RuntimeError: before `start`, or after `close`.
        """
        if self._threads is None:
            raise RuntimeError("the pipeline is not started")
        limits, count = self._settings.limits, len(uploads)
        if self.images + count > limits.queue:
            raise overloaded(f"{count} images while {self.images} others are in work")
        self.images += count
        try:
            async with asyncio.timeout(limits.answer_seconds):
                return list(await asyncio.gather(*(self._judge_one(upload, self._threads) for upload in uploads)))
        except TimeoutError:
            raise overloaded(f"{count} images that were not judged within {limits.answer_seconds:g} s") from None
        finally:
            self.images -= count

    async def _judge_one(self, upload: Upload, threads: _Threads) -> Result:
        image = await asyncio.get_running_loop().run_in_executor(threads.decoders, self._load, upload)
        if image.pixels is None:
            return Result(image.name, image.status, None, None, "", image.message)
        return await asyncio.wrap_future(threads.batcher.submit(image))

    def _load(self, upload: Upload) -> Loaded:
        file = io.BytesIO(upload.content)
        file.name = upload.name or "image"  # what messages call it
        return self._predictor.load(file, max_pixels=self._settings.limits.pixels)
