"""The page's files: put together with a bundle, whole, small, and built from the sources that are there."""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dermdistill.errors import InputError, IntegrityError
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.predict.gate import REASONS
from dermdistill.serve.page_data import PageData, read_page_data
from dermdistill.serve.site import content_security_policy, page_files, write_page

ROOT = Path(__file__).resolve().parents[2]
WEB, BUILT = ROOT / "web", ROOT / "src" / "dermdistill" / "serve" / "page"
DATA = ROOT / "src" / "dermdistill" / "serve" / "page_data"


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(default_bundle())


@pytest.fixture(scope="module")
def files(bundle) -> dict[str, bytes]:
    return page_files(bundle)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_built_is_what_the_sources_give():
    """By hash: `npm run build` in web/ writes both; after a change of either it must be run again."""
    build = json.loads((BUILT / "build.json").read_text())
    sources = {
        path.relative_to(WEB).as_posix()
        for path in WEB.rglob("*")
        if path.is_file() and "node_modules" not in path.parts
        and path.name not in ("README.md", "tsconfig.json")
    }  # fmt: skip
    assert set(build["sources"]) == sources
    assert {name for name, known in build["sources"].items() if sha256(WEB / name) != known} == set()
    assert {path.name for path in BUILT.iterdir()} == {"build.json", *build["files"]}
    assert {name for name, known in build["files"].items() if sha256(BUILT / name) != known} == set()
    runtime = gzip.decompress((BUILT / "engine.wasm.gz").read_bytes())
    assert hashlib.sha256(runtime).hexdigest() == build["runtime"]["sha256"]


@pytest.mark.slow
def test_building_again_gives_the_same(tmp_path):
    if shutil.which("node") is None or not (WEB / "node_modules" / "esbuild").is_dir():
        pytest.skip("no node, or `npm ci` was not run in web/")
    subprocess.run(["node", "build.mjs", str(tmp_path / "page")], cwd=WEB, check=True, capture_output=True)
    for path in sorted((tmp_path / "page").iterdir()):
        if path.name == "build.json":
            continue  # has the hash of the packed runtime, which depends on node's zlib
        if path.suffix == ".gz":
            assert gzip.decompress(path.read_bytes()) == gzip.decompress((BUILT / path.name).read_bytes())
        else:
            assert path.read_bytes() == (BUILT / path.name).read_bytes(), path.name


def test_every_language_says_everything():
    texts = {path.stem: json.loads(path.read_text("utf-8")) for path in (WEB / "texts").glob("*.json")}
    assert set(texts) >= {"en", "de"}
    for language, known in texts.items():
        assert set(known) == set(texts["en"]), language
        for key, text in known.items():
            assert text.strip(), (language, key)
            assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", texts["en"][key])), (language, key)
    used = set(re.findall(r'data-text="(\w+)"', (WEB / "index.html").read_text("utf-8")))
    assert used <= set(texts["en"])


def test_every_reason_of_a_gate_is_told_in_the_words_of_predict():
    texts = json.loads((WEB / "texts" / "en.json").read_text("utf-8"))
    reasons = {key.removeprefix("reason_"): text for key, text in texts.items() if key.startswith("reason_")}
    assert reasons == REASONS


def test_a_page_holds_the_gate_of_its_bundle_and_knows_its_reasons(files, bundle):
    assert files["bundle/gate.onnx"] == (bundle.folder / "gate.onnx").read_bytes()
    assert json.loads(files["page.json"])["gate"] == {"graph": "gate.onnx", "reasons": list(REASONS)}


def test_a_bundle_without_a_gate_makes_a_page_without_one(gateless):
    files = page_files(gateless)
    assert "bundle/gate.onnx" not in files
    assert json.loads(files["page.json"])["gate"] is None


def test_a_gate_for_images_of_another_size_is_refused(bundle):
    given = bundle.spec.input.model_copy(update={"size": 128})
    other = bundle.model_copy(update={"spec": bundle.spec.model_copy(update={"input": given})})
    with pytest.raises(IntegrityError, match="for images of 112 px, the model takes 128 px"):
        page_files(other)


def test_a_page_with_its_model_is_at_most_5_mb(files):
    assert sum(len(gzip.compress(content)) for content in files.values()) <= 5e6


def test_a_page_holds_the_bundle_but_not_its_weights_twice(files, bundle):
    assert files["bundle/model.onnx"] == bundle.graph.read_bytes()
    assert files["bundle/bundle.json"] == (bundle.folder / "bundle.json").read_bytes()
    assert not [name for name in files if name.endswith(".safetensors")]
    assert not [path.name for path in BUILT.iterdir() if path.suffix in (".onnx", ".safetensors")]


def test_the_offline_copy_lists_every_file_of_the_page(files):
    script = files["sw.js"].decode()
    kept = json.loads(re.search(r"^const PAGE = (\{.*?\});", script, re.MULTILINE)[1])  # type: ignore[index]
    assert set(kept["files"]) == set(files) - {"sw.js", "index.html", "build.json"} | {"./"}
    assert kept["version"] == json.loads(files["page.json"])["version"]


def test_another_model_is_another_version(files, bundle):
    facts = bundle.spec.model.model_copy(update={"weights_sha256": "1" * 64})
    other = page_files(bundle.model_copy(update={"spec": bundle.spec.model_copy(update={"model": facts})}))
    assert json.loads(other["page.json"])["version"] != json.loads(files["page.json"])["version"]
    assert json.loads(other["page.json"])["evidence"] is None, "figures of other weights must not come along"


def test_a_page_names_its_sources_for_people_in_every_language_that_has_a_name(bundle):
    data = bundle.spec.data.model_copy(update={"sources": ("ham10000-more", "our-clinic")})
    files = page_files(bundle.model_copy(update={"spec": bundle.spec.model_copy(update={"data": data})}))
    assert json.loads(files["page.json"])["sources"] == {
        "ham10000-more": {"en": "HAM10000 (more images)", "de": "HAM10000 (weitere Bilder)"},
        "our-clinic": {"en": "our-clinic"},
    }


def test_the_policy_lets_nothing_out():
    policy = dict(part.split(" ", 1) for part in content_security_policy().split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["form-action"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert not [value for value in policy.values() if "http" in value or "*" in value or "unsafe-inline" in value]


def test_a_page_replaces_an_earlier_one_but_nothing_else(tmp_path, bundle):
    write_page(tmp_path / "page", bundle)
    write_page(tmp_path / "page", bundle)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="something other than a page"):
        write_page(tmp_path / "photos", bundle)


def test_figures_that_ship_are_those_of_the_bundle_that_ships(bundle, files):
    index = json.loads(files["page.json"])
    assert index["evidence"] == f"page-data/{bundle.spec.name}.json"
    data = read_page_data(DATA / f"{bundle.spec.name}.json", bundle)
    rows = {value: (found, alarms) for value, found, alarms in data.curve}
    for name, point in bundle.spec.thresholds.items():
        found, alarms = rows[point.value]
        assert found / data.positives == pytest.approx(point.sensitivity, abs=0.01), name
        assert 1 - alarms / (data.n - data.positives) == pytest.approx(point.specificity, abs=0.01), name


def test_figures_of_other_weights_are_refused(tmp_path, bundle):
    data = json.loads((DATA / f"{bundle.spec.name}.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps({**data, "weights_sha256": "0" * 64}))
    with pytest.raises(IntegrityError, match="belongs to the weights 000000000000"):
        page_files(bundle, tmp_path / "other.json")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"curve": [[0.5, 1, 1], [0.2, 2, 2]]}, "must rise"),
        ({"curve": [[0.5, 10**6, 1]]}, "more images"),
        ({"bins": [{"low": 0, "high": 1, "n": 5, "positives": 1}]}, "do not hold"),
    ],
)
def test_figures_that_contradict_themselves_are_refused(bundle, change, why):
    data = json.loads((DATA / f"{bundle.spec.name}.json").read_text())
    with pytest.raises(ValueError, match=why):
        PageData.model_validate({**data, **change})


def test_the_command_writes_a_page(tmp_path, monkeypatch, capsys):
    from dermdistill.cli import main

    monkeypatch.setattr("sys.argv", ["dermdistill", "page", "--to", str(tmp_path / "page")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "serve it over HTTPS" in capsys.readouterr().out
    assert (tmp_path / "page" / "index.html").is_file()
    assert os.listdir(tmp_path / "page" / "page-data")  # noqa: PTH208
