"""Images and answers in stores that are named by URL: a web server and moto's S3, both on this machine."""

import csv
import io
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dermdistill import remote
from dermdistill.cli import app
from dermdistill.errors import InputError, MissingExtraError
from dermdistill.images.decode import ImageError, load_rgb
from dermdistill.predict.inputs import expand
from dermdistill.predict.predictor import Predictor
from dermdistill.remote import is_url, read, write

NAMES = ("a.jpg", "b.png", "c.jpg")


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], input=stdin)


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def s3_server():
    """The address of an object store."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch, request):
    """The URL of an empty bucket, with credentials in the environment as people have them."""
    import boto3

    for key, value in (("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"),
                       ("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_ENDPOINT_URL", s3_server)):  # fmt: skip
        monkeypatch.setenv(key, value)
    name = f"bucket-{abs(hash(request.node.name))}"
    boto3.client("s3").create_bucket(Bucket=name)
    remote._filesystem.cache_clear()
    yield f"s3://{name}"
    remote._filesystem.cache_clear()


@pytest.mark.parametrize(
    ("name", "found"),
    [("s3://b/a.jpg", True), ("HTTP://h/a.jpg", True), ("C:\\a.jpg", False), ("c://", False), ("a.jpg", False)],
)
def test_what_is_a_url(name, found):
    assert is_url(name) is found


def test_a_url_gives_the_row_of_the_local_file(files_server, draw, tmp_path):
    draw(tmp_path / "web", NAMES)
    there = run(*(f"{files_server.address}/{name}" for name in NAMES))
    here = run(*(tmp_path / "web" / name for name in NAMES))
    assert there.exit_code == here.exit_code == 0, there.output
    assert [row.pop("file") for row in rows(there.stdout)] == [f"{files_server.address}/{name}" for name in NAMES]
    assert [{**row, "file": ""} for row in rows(there.stdout)] == [{**row, "file": ""} for row in rows(here.stdout)]


def test_a_folder_of_a_web_server_is_listed_where_it_shows_links(files_server, draw, tmp_path):
    draw(tmp_path / "web" / "in", NAMES)
    (tmp_path / "web" / "in" / "notes.txt").write_text("none")
    (tmp_path / "web" / "in" / ".hidden.jpg").write_text("none")
    found = expand([f"{files_server.address}/in/"])
    assert list(found.files) == [f"{files_server.address}/in/{name}" for name in NAMES]
    assert found.passed_over == {".txt": 1, "hidden or made by the system": 1}


@pytest.mark.parametrize(
    ("name", "content", "reason", "message"),
    [
        ("none.jpg", None, "missing", "no such file"),
        ("empty.jpg", b"", "empty", "the file is empty"),
        ("text.jpg", b"hello", "not_an_image", "not an image"),
    ],
)
def test_errors_are_those_of_local_files(files_server, tmp_path, name, content, reason, message):
    if content is not None:
        (tmp_path / "web" / name).write_bytes(content)
    for source in (tmp_path / "web" / name, f"{files_server.address}/{name}"):
        with pytest.raises(ImageError, match=message) as caught:
            load_rgb(source)
        assert caught.value.reason == reason
        assert str(source) in str(caught.value)


def test_a_failure_that_passes_is_tried_again(files_server, draw, tmp_path, monkeypatch):
    monkeypatch.setattr("dermdistill.remote._PAUSE", 0.01)
    draw(tmp_path / "web", ["a.jpg"])
    files_server.fails["/a.jpg"] = [503, 500]
    (result,) = Predictor().predict(f"{files_server.address}/a.jpg")
    assert result.status == "ok"
    files_server.fails["/a.jpg"] = [503] * 3
    (result,) = Predictor().predict(f"{files_server.address}/a.jpg")
    assert (result.status, result.p_melanoma) == ("unreachable", None)
    assert "503" in result.message


def test_what_may_not_be_read_is_unreadable(files_server):
    files_server.fails["/a.jpg"] = [403]
    with pytest.raises(ImageError, match="cannot be opened") as caught:
        load_rgb(f"{files_server.address}/a.jpg")
    assert caught.value.reason == "unreadable"


def test_a_scheme_that_is_not_read_is_refused(tmp_path):
    for arguments, stdin in ((["htps://bucket/a.jpg"], None), (["-"], "htps://bucket/a.jpg\n")):
        done = run(*arguments, stdin=stdin)
        assert done.exception.exit_code == 2
        assert "did you mean 'https'?" in str(done.exception)


def test_nothing_is_written_to_a_web_server(draw, tmp_path):
    draw(tmp_path, ["a.jpg"])
    for options in (["--out", "https://example.org/a.csv"], ["--shards", "1", "--out", "https://example.org/a"]):
        done = run(tmp_path / "a.jpg", *options)
        assert done.exception.exit_code == 2
        assert "web servers take no files" in str(done.exception)


def test_an_object_store_is_listed_read_and_written(bucket, draw, tmp_path):
    draw(tmp_path / "local" / "sub", NAMES)
    for name in NAMES:
        write(f"{bucket}/in/sub/{name}", (tmp_path / "local" / "sub" / name).read_bytes())
    write(f"{bucket}/in/readme.txt", b"none")
    write(f"{bucket}/empty.jpg", b"")
    local = rows(run(tmp_path / "local").stdout)
    for argument in (f"{bucket}/in", f"{bucket}/in/", f"{bucket}/in/**/*g"):
        done = run(argument, "--out", f"{bucket}/out/answers.csv")
        assert done.exit_code == 0, done.output
        found = rows(read(f"{bucket}/out/answers.csv", 10**6).decode())
        assert [row.pop("file") for row in found] == [f"{bucket}/in/sub/{name}" for name in NAMES]
        assert found == [{key: value for key, value in row.items() if key != "file"} for row in local]
    for name, reason in (("empty.jpg", "empty"), ("none.jpg", "missing")):
        with pytest.raises(ImageError) as caught:
            load_rgb(f"{bucket}/{name}")
        assert caught.value.reason == reason
    with pytest.raises(InputError, match="holds no images that are read here; found instead: it is empty"):
        expand([f"{bucket}/nowhere/"])
    with pytest.raises(InputError, match="is no pattern"):
        expand([f"{bucket}/in/**.jpg"])
    with pytest.raises(InputError, match=r"cannot write s3://no-such-bucket-here/a\.csv"):
        write("s3://no-such-bucket-here/a.csv", b"text")


def test_shards_in_an_object_store(bucket, draw, tmp_path):
    pytest.importorskip("pyarrow")
    draw(tmp_path / "local", NAMES)
    for where in (bucket, tmp_path / "out"):
        done = run(tmp_path / "local", "--shards", 2, "--out", f"{where}/answers")
        assert done.exit_code == 0, done.output
    for name in ("part-00000-of-00002.parquet", "part-00001-of-00002.parquet", "job.json"):
        assert read(f"{bucket}/answers/{name}", 10**6) == (tmp_path / "out" / "answers" / name).read_bytes()
    again = run(tmp_path / "local", "--shards", 2, "--out", f"{bucket}/answers")
    assert "2 of them before" in again.stderr


def test_dicom_objects_are_not_made_of_urls(files_server):
    done = run(f"{files_server.address}/a.dcm", "--dicom-uid")
    assert done.exception.exit_code == 2
    assert "DICOM objects are made of local files" in str(done.exception)


@pytest.mark.parametrize(("url", "package"), [("gs://b/a.jpg", "gcsfs"), ("https://example.org/a.jpg", "aiohttp")])
def test_without_a_stores_package_it_says_what_to_install(monkeypatch, url, package):
    fsspec = pytest.importorskip("fsspec")

    def lacks(_):
        raise ImportError

    monkeypatch.setattr(fsspec, "filesystem", lacks)
    remote._filesystem.cache_clear()
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*pip install 'dermdistill\[remote\]'"):
        load_rgb(url)


def test_the_core_install_says_what_to_install():
    code = (
        "import sys; sys.modules['fsspec'] = None\n"
        "sys.argv = ['dermdistill', 'predict', 's3://b/a.jpg']\n"
        "from dermdistill.cli import main; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "pip install 'dermdistill[remote]'" in done.stderr
