import base64
import io
import zlib
from pathlib import Path

import pytest
from PIL import Image

from dermdistill.classes import DISCLAIMER
from dermdistill.errors import IntegrityError
from dermdistill.predict.gate import REASONS
from dermdistill.predict.header import GRAPH
from dermdistill.predict.predictor import Predictor

ROOT = Path(__file__).resolve().parents[2]


def _json(*images, **more):
    return {"images": [{"data": base64.b64encode(image).decode(), "name": f"{at}"} for at, image in enumerate(images)],
            **more}  # fmt: skip


def test_the_answer_is_the_predictors(serving, predictor, photo, form):
    images = [photo(seed) for seed in range(5)]
    expected = list(predictor.predict(images))
    with serving() as client:
        as_form = client.post("/v1/predict", **form(*images))
        as_json = client.post("/v1/predict", json=_json(*images))
    assert as_form.status_code == as_json.status_code == 200
    for found in (as_form.json(), as_json.json()):
        assert found["disclaimer"] == DISCLAIMER
        assert found["model"]["name"] == predictor.bundle.spec.name
        assert found["model"]["sha256"] == predictor.bundle.spec.files[GRAPH]
        assert found["threshold"] == {"name": "sensitivity_95", "value": predictor.threshold}
        assert [entry["index"] for entry in found["results"]] == list(range(5))
        for entry, result in zip(found["results"], expected, strict=True):
            assert entry["status"] == "ok"
            assert list(entry["probabilities"]) == list(predictor.classes)
            assert list(entry["probabilities"].values()) == pytest.approx(result.probabilities, abs=1e-6)
            assert entry["p_melanoma"] == pytest.approx(result.p_melanoma, abs=1e-6)
            assert entry["decision"] == result.decision
    assert [entry["file"] for entry in as_form.json()["results"]] == [f"{at}.jpg" for at in range(5)]
    assert len({entry["p_melanoma"] for entry in as_form.json()["results"]}) == 5


@pytest.mark.parametrize("given", ["youden", "0.5", 0.5, 0, 1])
def test_the_decision_follows_the_threshold_that_is_asked_for(serving, predictor, photo, form, given):
    images = [photo(seed) for seed in range(4)]
    known = {name: point.value for name, point in predictor.bundle.spec.thresholds.items()}
    value = known.get(given) if given in known else float(given)
    with serving() as client:
        for sent in (form(*images, threshold=str(given)), {"json": _json(*images, threshold=given)}):
            found = client.post("/v1/predict", **sent).json()
            assert found["threshold"] == {"name": given if given in known else None, "value": value}
            for entry in found["results"]:
                above = entry["p_melanoma"] >= value
                assert entry["decision"] == ("above_threshold" if above else "below_threshold")


@pytest.mark.parametrize("given", ["often", "1.5", "nan", "-1"])
def test_a_threshold_that_is_none_is_refused_with_those_that_are(serving, photo, form, given):
    with serving() as client:
        found = client.post("/v1/predict", **form(photo(), threshold=given))
    assert found.status_code == 422
    assert given in found.json()["detail"]
    assert "sensitivity_95" in found.json()["expected"]


def test_an_unreadable_image_among_others_has_its_own_entry(serving, photo, form):
    whole = photo(1, (400, 300))
    images = [photo(0), ("text.jpg", b"no image"), ("cut.jpg", whole[: len(whole) // 2]), ("empty.png", b""), photo(2)]
    with serving() as client:
        found = client.post("/v1/predict", **form(*images))
        alone = [client.post("/v1/predict", **form(image)).json()["results"][0] for image in (images[0], images[4])]
    assert found.status_code == 200
    entries = found.json()["results"]
    assert [entry["status"] for entry in entries] == ["ok", "not_an_image", "truncated", "empty", "ok"]
    for entry in entries[1:4]:
        assert entry["p_melanoma"] is entry["probabilities"] is entry["decision"] is None
        assert entry["message"].startswith(entry["file"])
    assert [entries[0]["p_melanoma"], entries[4]["p_melanoma"]] == pytest.approx([one["p_melanoma"] for one in alone])


def test_a_request_without_a_usable_image_is_refused_with_the_reason(serving, form):
    with serving() as client:
        one = client.post("/v1/predict", **form(("notes.txt", b"no image")))
        two = client.post("/v1/predict", **form(("a.txt", b"no image"), ("b.txt", b"")))
    assert one.status_code == two.status_code == 422
    assert one.headers["content-type"] == "application/problem+json"
    assert one.json()["detail"].startswith("notes.txt: not an image")
    assert one.json()["type"] == "urn:dermdistill:unreadable-image"
    assert [entry["status"] for entry in two.json()["images"]] == ["not_an_image", "empty"]


def test_a_bomb_is_refused_before_it_is_decoded(serving, form, monkeypatch):
    """A small PNG that says it has 40,000 x 40,000 pixels, and one just above the service's own limit."""
    out = io.BytesIO()
    Image.new("1", (1001, 1000)).save(out, "PNG")
    above = out.getvalue()
    header = b"IHDR" + (40_000).to_bytes(4, "big") * 2 + above[24:29]
    huge = above[:12] + header + zlib.crc32(header).to_bytes(4, "big") + above[33:]
    decoded = []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda image: (decoded.append(image.size), load(image))[1])
    with serving({"pixels": 1_000_000}) as client:
        for image in (huge, above):
            found = client.post("/v1/predict", **form(("bomb.png", image)))
            assert found.status_code == 422
            assert [entry["status"] for entry in found.json()["images"]] == ["bomb"]
        assert "1001x1000 pixels are more than the 1,000,000 allowed" in found.json()["detail"]
        assert decoded == []
        Image.new("1", (1000, 1000)).save(out := io.BytesIO(), "PNG")
        assert client.post("/v1/predict", **form(out.getvalue())).status_code == 200
    assert (1000, 1000) in decoded


def test_a_broken_model_is_the_services_fault_and_its_words_stay_inside(serving, photo, form, monkeypatch):
    broken = Predictor(threads=1, gate="off")
    with serving(model=broken) as client:
        monkeypatch.setattr(broken, "_forward", lambda images: images[:, 0, 0, :1] * float("nan") + [[0.0] * 7])
        nan = client.post("/v1/predict", **form(photo()))
        assert nan.status_code == 500
        assert nan.json()["type"] == "urn:dermdistill:model"

        def fail(images):
            raise OSError("secret place")

        monkeypatch.setattr(broken, "_forward", fail)
        failed = client.post("/v1/predict", **form(photo()))
        assert failed.status_code == 500
        assert "secret" not in failed.text
        assert failed.json()["type"] == "urn:dermdistill:internal"
        assert failed.headers["x-content-type-options"] == "nosniff"
        monkeypatch.undo()
        assert client.post("/v1/predict", **form(photo())).status_code == 200, "the worker did not go on"


def test_damaged_images_are_judged_if_the_service_says_so(serving, photo, form):
    whole = photo(3, (400, 300))
    damaged = whole[:-2] + bytes(2)
    with serving() as client:
        assert client.post("/v1/predict", **form(damaged)).json()["images"][0]["status"] == "damaged"
    with serving(model=Predictor(threads=1, damaged="judge", gate="off")) as client:
        (entry,) = client.post("/v1/predict", **form(damaged)).json()["results"]
    assert entry["status"] == "damaged"
    assert 0 <= entry["p_melanoma"] <= 1


@pytest.fixture(scope="module")
def gated():
    return Predictor(threads=1)


def test_a_refused_image_says_so_and_has_no_probability(serving, gated, photo, form):
    """The other one is a lesion that is drawn; a word of its quality stands beside its probability."""
    lesion = ("lesion.jpg", (ROOT / "web" / "example.jpg").read_bytes())
    with serving(model=gated) as client:
        both = client.post("/v1/predict", **form(lesion, ("noise.jpg", photo(0))))
        alone = client.post("/v1/predict", **form(("noise.jpg", photo(0))))
        counted = client.get("/metrics").text
    good, refused = both.json()["results"]
    assert both.status_code == 200
    assert (good["status"], good["quality"], good["message"]) == ("ok", "good", "")
    assert 0 <= good["p_melanoma"] <= 1
    assert refused["status"] == "refused"
    assert refused["p_melanoma"] is refused["decision"] is refused["probabilities"] is None
    assert "not_dermoscopic" in refused["quality"].split(",")
    assert refused["message"].startswith("noise.jpg: refused: it does not look like a dermoscopic image")
    assert (alone.status_code, alone.json()["type"]) == (422, "urn:dermdistill:refused-image")
    assert alone.json()["detail"] == refused["message"]
    assert [entry["status"] for entry in alone.json()["images"]] == ["refused"]
    assert 'dermdistill_images_total{status="refused"} 2.0' in counted


def test_a_refused_image_is_judged_if_the_operator_says_so_and_keeps_its_reasons(serving, photo, form):
    with serving(model=Predictor(threads=1, gate="judge")) as client:
        (entry,) = client.post("/v1/predict", **form(photo())).json()["results"]
    assert entry["status"] == "refused"
    assert 0 <= entry["p_melanoma"] <= 1
    assert "not_dermoscopic" in entry["quality"]
    assert "it does not look like a dermoscopic image" in entry["message"]
    assert "--gate" not in entry["message"]


def test_refused_and_unreadable_images_together_are_no_usable_ones(serving, gated, photo, form):
    with serving(model=gated) as client:
        found = client.post("/v1/predict", **form(photo(0), ("notes.txt", b"no image")))
    assert (found.status_code, found.json()["type"]) == (422, "urn:dermdistill:unreadable-image")
    assert [entry["status"] for entry in found.json()["images"]] == ["refused", "not_an_image"]


def test_a_broken_gate_never_gets_ready(serving, monkeypatch):
    broken = Predictor(threads=1)

    def fail(batch):
        raise IntegrityError("gate.onnx fails")

    monkeypatch.setattr(broken.gate, "judge", fail)
    with pytest.raises(IntegrityError, match=r"gate\.onnx fails"), serving(model=broken):
        pass


def test_the_gates_reasons_are_among_the_facts(serving, predictor, gated):
    for model, told in ((gated, REASONS), (predictor, {})):
        with serving(model=model) as client:
            assert client.get("/v1/model").json()["gate"] == told


def test_the_facts_of_the_model(serving, predictor):
    spec = predictor.bundle.spec
    with serving({"images": 3}) as client:
        facts, card = client.get("/v1/model").json(), client.get("/v1/model/card")
    assert [one["name"] for one in facts["classes"]] == list(spec.classes)
    assert [one["name"] for one in facts["classes"] if one["is_melanoma"]] == ["mel"]
    assert facts["thresholds"] == {name: point.model_dump() for name, point in spec.thresholds.items()}
    assert facts["default_threshold"] == {"name": "sensitivity_95", "value": predictor.threshold}
    assert facts["intended_use"] == spec.intended_use
    assert (facts["calibration"], facts["temperature"]) == ("temperature", spec.temperature)
    assert facts["limits"]["images"] == 3
    figures = {one["name"]: one for one in facts["figures"]}
    assert 0.5 < figures["auroc"]["low"] < figures["auroc"]["value"] < figures["auroc"]["high"] < 1
    assert len(figures) >= 8
    assert card.headers["content-type"].startswith("text/markdown")
    assert card.text == (predictor.bundle.folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_a_bundle_without_a_card_has_no_figures(serving, predictor):
    bundle = predictor.bundle
    files = {GRAPH: bundle.spec.files[GRAPH]}
    bare = bundle.model_copy(update={"spec": bundle.spec.model_copy(update={"files": files})})
    with serving(model=Predictor(bare, threads=1)) as client:
        assert client.get("/v1/model").json()["figures"] == []
        assert client.get("/v1/model/card").status_code == 404
