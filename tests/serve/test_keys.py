import stat
import sys

import pytest

from dermdistill.errors import InputError
from dermdistill.serve import keys
from dermdistill.serve.keys import add_key, digest, read_keys


def test_only_made_keys_are_let_in(tmp_path, serving, photo, form):
    file = tmp_path / "keys.txt"
    one, other = add_key(file, "clinic"), add_key(file, "study-2")
    assert one != other
    assert len(one) >= 43
    assert one not in file.read_text()
    with serving(keys=file) as client:
        for key in (one, other):
            found = client.post("/v1/predict", **form(photo()), headers={"Authorization": f"Bearer {key}"})
            assert found.status_code == 200
        for headers in (
            {}, {"Authorization": f"Bearer {one}x"}, {"Authorization": f"Basic {one}"}, {"Authorization": "Bearer "},
            {"Authorization": f"Bearer {digest(one)}"}, {"Authorization": b"Bearer \xff\xfe"},
        ):  # fmt: skip
            for path in ("/v1/model", "/v1/model/card", "/metrics"):
                refused = client.get(path, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
                assert refused.json()["type"] == "urn:dermdistill:key"
            assert client.post("/v1/predict", **form(photo()), headers=headers).status_code == 401
        for path in ("/healthz", "/readyz", "/", "/openapi.json"):
            assert client.get(path).status_code == 200


def test_every_hash_is_compared_in_constant_time(tmp_path, monkeypatch):
    file = tmp_path / "keys.txt"
    made = [add_key(file, name) for name in "abc"]
    known, compared = read_keys(file), []
    monkeypatch.setattr(keys.hmac, "compare_digest", lambda a, b: (compared.append(a), a == b)[1])
    assert [known.owner(key) for key in (*made, "none")] == ["a", "b", "c", None]
    assert len(compared) == 4 * 3
    assert all(len(value) == 64 for value in compared), "the keys themselves differ in length, their hashes do not"


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_a_new_file_is_its_owners_alone(tmp_path):
    add_key(tmp_path / "keys.txt", "clinic")
    assert stat.S_IMODE((tmp_path / "keys.txt").stat().st_mode) == 0o600


def test_comments_and_lines_without_an_end_stay(tmp_path):
    file = tmp_path / "keys.txt"
    file.write_text(f"# ours\n\nold sha256:{digest('k')}")
    new = add_key(file, "new")
    assert file.read_text() == f"# ours\n\nold sha256:{digest('k')}\nnew sha256:{digest(new)}\n"
    assert [read_keys(file).owner(key) for key in ("k", new, "")] == ["old", "new", None]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
        ("clinic\n", "line 1: expected a name"),
        (f"a sha256:{'0' * 63}\n", "line 1: expected"),
        (f"a sha256:{'0' * 64}\na sha256:{'1' * 64}\n", "line 2: the name 'a' stands twice"),
    ],
)
def test_a_file_that_does_not_fit_is_told(tmp_path, content, told):
    (tmp_path / "keys.txt").write_text(content)
    with pytest.raises(InputError, match=told):
        read_keys(tmp_path / "keys.txt")


def test_a_missing_file_and_names_that_do_not_fit_are_told(tmp_path):
    with pytest.raises(InputError, match="no such file of keys"):
        read_keys(tmp_path / "keys.txt")
    with pytest.raises(InputError, match="letters, digits"):
        add_key(tmp_path / "keys.txt", "two words")
    add_key(tmp_path / "keys.txt", "clinic")
    with pytest.raises(InputError, match="has a key of 'clinic' already"):
        add_key(tmp_path / "keys.txt", "clinic")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_keys(tmp_path / "binary")
