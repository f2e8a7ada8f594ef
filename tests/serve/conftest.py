"""Services of the shipped model, in the process of the tests."""

import io
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from dermdistill.predict.predictor import Predictor

pytest.importorskip("fastapi")

from dermdistill.serve import server
from dermdistill.serve.app import create_app
from dermdistill.serve.settings import Limits, Settings


@pytest.fixture(scope="session")
def predictor():
    """The default model without its gate, which refuses what is drawn here."""
    return Predictor(threads=1, gate="off")


@pytest.fixture(scope="session")
def photo():
    """photo(seed): the bytes of a JPEG with some structure."""

    def make(seed=0, size=(150, 112), kind="JPEG"):
        coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(out, kind)
        return out.getvalue()

    return make


@pytest.fixture
def serving(predictor):
    """serving(limits, page=…, model=…, **settings): a client of a service."""

    @contextmanager
    def start(limits=None, page=None, model=None, **settings):
        chosen = Settings(limits=Limits(**(limits or {})), **settings)
        with TestClient(create_app(model or predictor, chosen, page), raise_server_exceptions=False) as client:
            yield client

    return start


@pytest.fixture
def listening(predictor):
    """listening(limits, page=…, **settings): the port of a service on a socket of this machine."""

    @contextmanager
    def start(limits=None, page=None, **settings):
        chosen = Settings(port=0, limits=Limits(**(limits or {})), **settings)
        with server.listen(chosen) as at:
            running = server.make_server(create_app(predictor, chosen, page), chosen)
            thread = threading.Thread(target=running.run, kwargs={"sockets": [at]})
            thread.start()
            try:
                until = time.monotonic() + 60
                while not running.started:
                    assert time.monotonic() < until, "the service did not start"
                    time.sleep(0.01)
                yield at.getsockname()[1]
            finally:
                running.should_exit = True
                thread.join(30)
                assert not thread.is_alive()

    return start


@pytest.fixture(scope="session")
def form():
    """form(images, **fields): what `TestClient.post` takes for a form of images, bytes or pairs of a name and bytes."""

    def make(*images, **fields):
        named = [image if isinstance(image, tuple) else (f"{at}.jpg", image) for at, image in enumerate(images)]
        return {"files": [("images", one) for one in named], "data": fields}

    return make
