"""The OpenAPI document describes what the service does: requests made from it get the answers that it names."""

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dermdistill.predict.predictor import Predictor
from dermdistill.serve.app import create_app
from dermdistill.serve.openapi import ANSWER_EXAMPLE, PROBLEM_EXAMPLE, REQUEST_BODY
from dermdistill.serve.settings import Settings

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance, allow_header_conformance,
]  # fmt: skip


@pytest.fixture(scope="module")
def app():
    return create_app(Predictor(threads=1), Settings())


@pytest.fixture
def document(listening):
    """The document of a service on a socket."""
    with listening() as port:
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")


def _draw(document, method, path, mode):
    """Send requests drawn from an operation of the document, and check their answers."""

    @given(case=document[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def answered(case):
        case.call_and_validate(checks=CHECKS)

    answered()


@pytest.mark.parametrize("mode", GenerationMode)
def test_requests_that_fit_and_such_that_do_not_get_the_answers_of_the_document(document, mode):
    _draw(document, "POST", "/v1/predict", mode)


def test_questions_get_the_answers_of_the_document(document, app):
    paths = {operation.ok().path for operation in document.get_all_operations()}
    assert paths == set(app.openapi()["paths"])
    for path in paths - {"/v1/predict"}:
        _draw(document, "GET", path, GenerationMode.POSITIVE)


def test_the_examples_fit_their_schemas(app):
    document = app.openapi()

    def valid(name, example):
        jsonschema_rs.validate({"$ref": f"#/components/schemas/{name}", "components": document["components"]}, example)

    valid("PredictOut", ANSWER_EXAMPLE)
    valid("Problem", PROBLEM_EXAMPLE)
    for example in REQUEST_BODY["content"]["application/json"]["examples"].values():
        valid("PredictIn", example["value"])
    with pytest.raises(jsonschema_rs.ValidationError):
        valid("PredictIn", {"images": []})
    assert document["paths"]["/v1/predict"]["post"]["requestBody"] == REQUEST_BODY


def test_every_refusal_is_described(app):
    operation = app.openapi()["paths"]["/v1/predict"]["post"]
    assert {"200", "400", "401", "408", "413", "415", "422", "500", "503"} == set(operation["responses"])
    for status, response in operation["responses"].items():
        assert list(response["content"]) == ["application/json" if status == "200" else "application/problem+json"]
    assert operation["security"]
