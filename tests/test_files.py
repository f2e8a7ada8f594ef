"""Where content ends up: plain files, links, pipes, devices, and places that cannot be written."""

import os
import stat
import sys
import threading

import pytest

from dermdistill.errors import InputError, OutputError
from dermdistill.files import atomic_path, write_bytes, write_text

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and devices of POSIX")


def _names(folder):
    return [path.name for path in folder.iterdir()]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "a.csv"
    path.write_text("before")
    path.chmod(mode)
    write_text(path, "after")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_text() == "after"
    assert _names(tmp_path) == ["a.csv"]


@posix
def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.csv", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == 0o640


@posix
def test_a_private_file_is_private_while_it_is_written(tmp_path):
    path = tmp_path / "a.csv"
    path.touch(0o600)
    with atomic_path(path) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_keeps_its_owner(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("before")
    os.chown(path, 1234, 2345)
    write_text(path, "after")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


@posix
@pytest.mark.parametrize("there", [True, False], ids=["whole", "dangling"])
def test_a_link_is_followed(tmp_path, there):
    (tmp_path / "real").mkdir()
    target, link, second = tmp_path / "real" / "a.csv", tmp_path / "link.csv", tmp_path / "second.csv"
    if there:
        target.write_text("before")
    link.symlink_to(target)
    second.symlink_to("link.csv")
    write_text(second, "after")
    assert link.is_symlink()
    assert second.is_symlink()
    assert target.read_text() == "after"
    assert _names(tmp_path / "real") == ["a.csv"]


@posix
def test_a_pipe_is_written_through(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_bytes(pipe, b"x" * 100_000)
    reader.join(20)
    assert got == [b"x" * 100_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert _names(tmp_path) == ["pipe"]


@posix
def test_a_device_stays_a_device(tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.write_bytes(b"")
    except OSError:
        pytest.skip("devices cannot be made here")
    write_text(device, "gone")
    assert stat.S_ISCHR(device.stat().st_mode)
    link = tmp_path / "link"
    link.symlink_to(device)
    write_text(link, "gone")
    assert stat.S_ISCHR(device.stat().st_mode)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev of Linux")
def test_a_full_device_is_told_and_stays():
    with pytest.raises(OutputError, match=r"cannot write /dev/full: No space left on device; free some space"):
        write_text("/dev/full", "x")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)  # noqa: PTH116


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev of Linux")
def test_an_open_file_is_written_through(tmp_path):
    """As by `--out /dev/stdout > a.csv`: who opened the file goes on to read that one."""
    with (tmp_path / "a.csv").open("w+b") as stream:
        write_text(f"/dev/fd/{stream.fileno()}", "after")
        assert stream.read() == b"after"
        assert os.fstat(stream.fileno()).st_nlink == 1


@pytest.mark.parametrize(
    ("name", "told"), [("folder", "it is a folder; name a file"), ("file/a.csv", "part of the path is a file")]
)
def test_what_cannot_be_written_is_told_before_the_work(tmp_path, name, told):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=f"cannot write .*{name}: .*{told}"), atomic_path(tmp_path / name):
        pytest.fail("the work began")
    assert (tmp_path / "file").read_text() == "kept"


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError), atomic_path(path) as temporary:
        temporary.write_text("half \udcff", encoding="utf-8")
    assert path.read_text() == "before"
    assert _names(tmp_path) == ["a.csv"]
