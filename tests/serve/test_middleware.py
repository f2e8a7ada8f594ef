import json
import logging
import re

import pytest

from dermdistill.serve import logs
from dermdistill.serve.logs import LOGGER, JsonFormatter


@pytest.fixture
def lines(caplog):
    """lines(): what was logged, as the service writes it."""
    caplog.set_level(logging.INFO, LOGGER)
    return lambda: [json.loads(JsonFormatter().format(record)) for record in caplog.records if record.name == LOGGER]


def test_a_request_is_a_line_without_names_images_or_addresses(serving, photo, form, lines):
    with serving() as client:
        found = client.post(
            "/v1/predict?patient=Miller",
            **form(("Miller-Anna.jpg", photo()), ("b", b"")),
            headers={"X-Request-ID": "a-1"},
        )
        assert found.headers["x-request-id"] == "a-1"
        client.get("/no/such/Miller")
    first, second = lines()
    assert {key: first[key] for key in ("request_id", "method", "route", "status", "images")} == {
        "request_id": "a-1", "method": "POST", "route": "/v1/predict", "status": 200, "images": 2,
    }  # fmt: skip
    assert first["milliseconds"] > 0
    assert first["bytes"] > len(photo())
    assert second["route"] == "other"
    assert re.fullmatch(r"[0-9a-f]{16}", second["request_id"])
    for word in ("Miller", "testclient", "127.0.0.1"):
        assert word not in json.dumps([first, second])


def test_a_refusal_is_logged_with_its_code_and_the_keys_owner_with_a_request(serving, tmp_path, lines):
    from dermdistill.serve.keys import add_key

    key = add_key(tmp_path / "keys", "clinic")
    with serving(keys=tmp_path / "keys") as client:
        client.get("/v1/model")
        client.get("/v1/model", headers={"Authorization": f"Bearer {key}"})
    refused, passed = lines()
    assert (refused["refused"], refused["status"]) == ("key", 401)
    assert passed["key"] == "clinic"
    assert key not in json.dumps(passed)


def test_an_error_is_logged_with_its_places_and_without_its_words(serving, predictor, photo, form, lines, monkeypatch):
    def fail(loaded):
        raise ValueError("the words of an error")

    monkeypatch.setattr(predictor, "judge", fail)
    with serving() as client:
        found = client.post("/v1/predict", **form(photo()), headers={"X-Request-ID": "seven"})
    assert found.status_code == 500
    error, request = lines()
    assert error["error"] == "ValueError"
    assert any(place.endswith(" fail") for place in error["at"])
    assert error["request_id"] == request["request_id"] == "seven"
    assert "the words" not in json.dumps(error)


def test_an_id_that_could_do_harm_is_replaced(serving):
    with serving() as client:
        for given in ("a b", "x" * 65, '"}', ""):
            assert client.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] != given


def test_every_response_has_the_headers_for_safety(serving):
    with serving() as client:
        for found in (client.get("/healthz"), client.get("/no"), client.post("/v1/predict"), client.put("/v1/model")):
            assert found.headers["x-content-type-options"] == "nosniff"
            assert found.headers["content-security-policy"].startswith("default-src 'none';")
            assert found.headers["referrer-policy"] == "no-referrer"
            assert found.headers["cache-control"] == "no-store"
            assert "access-control-allow-origin" not in found.headers


def test_other_origins_are_let_in_only_if_they_are_named(serving):
    asks = {"Origin": "https://study.example", "Access-Control-Request-Method": "POST"}
    with serving() as client:
        assert "access-control-allow-origin" not in client.get("/v1/model", headers=asks).headers
        assert client.options("/v1/predict", headers=asks).status_code == 405
    with serving(cors=("https://study.example",)) as client:
        before = client.options("/v1/predict", headers={**asks, "Access-Control-Request-Headers": "authorization"})
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == "https://study.example"
        assert "credentials" not in str(before.headers)
        assert client.options("/v1/predict", headers={**asks, "Origin": "https://evil.example"}).status_code == 400


def _figures(text):
    return dict(re.findall(r"^(dermdistill_\S+) (\S+)$", text, re.MULTILINE))


def test_figures_count_what_happened(serving, photo, form):
    with serving({"images": 3}) as client:
        client.post("/v1/predict", **form(photo(), photo(1), b"no image"))
        client.post("/v1/predict", **form(*[photo()] * 4))
        client.get("/any/path")
        found = client.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain; version=")
    figures = _figures(found.text)
    assert figures['dermdistill_requests_total{method="POST",route="/v1/predict",status="200"}'] == "1.0"
    assert figures['dermdistill_requests_total{method="POST",route="/v1/predict",status="422"}'] == "1.0"
    assert figures['dermdistill_requests_total{method="GET",route="other",status="404"}'] == "1.0"
    assert figures['dermdistill_refused_total{code="too-many-images"}'] == "1.0"
    assert figures['dermdistill_images_total{status="ok"}'] == "2.0"
    assert figures['dermdistill_images_total{status="not_an_image"}'] == "1.0"
    assert figures["dermdistill_batch_images_sum"] == "2.0"
    assert figures["dermdistill_images_in_work"] == "0.0"
    assert figures["dermdistill_requests_in_progress"] == "1.0"  # this one
    assert figures['dermdistill_request_seconds_count{route="/v1/predict"}'] == "2.0"
    assert "process_resident_memory_bytes" in found.text


def test_the_log_of_the_server_is_json_on_standard_output(capsys, monkeypatch):
    # dictConfig shuts all handlers down. absl's, where a test of this process has imported it, then closes the standard
    # error that it has kept: pytest's own, while capsys stands in for it.
    monkeypatch.setattr(logging, "shutdown", lambda handlers: None)
    try:
        logs.configure()
        logging.getLogger("uvicorn.error").info("Shutting %s", "down")
        logging.getLogger("uvicorn.access").info("nobody sees this")
    finally:
        for name in (LOGGER, "uvicorn", "uvicorn.access"):
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = True
    (line,) = capsys.readouterr().out.splitlines()
    content = json.loads(line)
    assert (content["message"], content["level"]) == ("Shutting down", "info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", content["time"])
