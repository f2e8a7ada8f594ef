import pytest

from dermdistill.serve.static import POLICY, Page, read_files


@pytest.fixture
def files():
    return {
        "index.html": b"<!doctype html><title>page</title>",
        "assets/model.wasm": b"\0asm",
        "assets/app.mjs": b"export {}",
        "assets/engine.wasm.gz": b"x" * 200_000,
        "assets/model.onnx": b"x",
        "app.webmanifest": b"{}",
    }


@pytest.fixture
def page(files):
    return Page(files)


def test_files_have_the_types_that_browsers_ask_for(serving, page):
    with serving(page=page) as client:
        for path, kind in (
            ("/", "text/html; charset=utf-8"), ("/index.html", "text/html; charset=utf-8"),
            ("/assets/model.wasm", "application/wasm"), ("/assets/app.mjs", "text/javascript; charset=utf-8"),
            ("/assets/model.onnx", "application/octet-stream"),
            ("/assets/engine.wasm.gz", "application/gzip"), ("/app.webmanifest", "application/manifest+json"),
        ):  # fmt: skip
            found = client.get(path)
            assert (found.status_code, found.headers["content-type"]) == (200, kind), path
            assert client.head(path).status_code == 200


def test_the_page_may_load_only_its_own_and_is_isolated(serving, page):
    with serving(page=page) as client:
        found = client.get("/").headers
        assert found["content-security-policy"] == POLICY
        assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval';" in found["content-security-policy"]
        assert found["cross-origin-embedder-policy"] == "require-corp"
        assert found["cross-origin-opener-policy"] == "same-origin"
        assert found["x-content-type-options"] == "nosniff"
        assert client.get("/v1/model").headers["content-security-policy"] != found["content-security-policy"]


def test_a_browser_gets_a_file_again_only_if_it_has_changed(serving, page):
    with serving(page=page) as client:
        first = client.get("/assets/app.mjs")
        assert first.headers["cache-control"] == "no-cache"
        again = client.get("/assets/app.mjs", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    with serving(page=Page({"assets/app.mjs": b"export { other }"})) as client:
        changed = client.get("/assets/app.mjs", headers={"If-None-Match": first.headers["etag"]})
        assert (changed.status_code, changed.content) == (200, b"export { other }")


def test_nothing_outside_the_folder_is_served_and_the_interface_stays(serving, page):
    with serving(page=page) as client:
        for path in (
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/assets/..%2f..%2fsecret.txt",
            "//etc/passwd",
            "/none.js",
        ):
            found = client.get(path)
            assert found.status_code == 404, path
            assert found.json()["type"] == "urn:dermdistill:not-found"
        assert client.post("/index.html").status_code == 405
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.get("/v1/model").status_code == 200


def test_without_a_page_the_root_points_to_the_interface(serving):
    with serving() as client:
        found = client.get("/").json()
        assert "not a medical device" in found["disclaimer"]
        assert client.get(found["openapi"]).status_code == client.get(found["model"]).status_code == 200


def test_a_folder_is_read_without_its_links(tmp_path):
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / "a.js").write_text("a")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert read_files(folder) == {"assets/a.js": b"a"}
    assert read_files(tmp_path / "none") == {}
