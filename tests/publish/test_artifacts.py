"""Release artefacts: equal bytes from equal contents, checked before they are unpacked, and the index in results/."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError, IntegrityError
from dermdistill.publish import artifacts

ROOT = Path(__file__).parents[2]


def write(path: Path, content: bytes | dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder with a small student, a teacher above the budget, and a bank."""
    folder = tmp_path / "work" / "tiny"
    for run, parameters in (("fold-0/students/small", 1000), ("fold-0/teachers/large", 3_000_000)):
        write(folder / run / "run.json", {"parameters": parameters})
        write(folder / run / "model.safetensors", f"weights of {run}".encode())
        write(folder / run / "checkpoints" / "last.safetensors", b"not for a release")
    write(folder / "fold-0" / "bank" / "bank.json", {"views": 1})
    write(folder / "fold-0" / "bank" / "teacher" / "shard.safetensors", b"logits")
    return folder


def build(work: Path, out: Path) -> tuple[Path, list[artifacts.Artifact]]:
    index = out / "artifacts.json"
    return index, artifacts.build("tiny", work, out, index, "make artifacts RECIPE=tiny")


def test_archives_of_equal_contents_are_equal_and_hold_what_a_release_needs(work: Path, tmp_path: Path):
    _, first = build(work, tmp_path / "a")
    for path in work.rglob("*"):
        path.touch()
    _, second = build(work, tmp_path / "b")
    assert [one.sha256 for one in first] == [one.sha256 for one in second]
    assert [one.name for one in first] == ["tiny-runs", "tiny-bank-fold-0"]
    with tarfile.open(tmp_path / "a" / "tiny-runs.tar") as archive:
        assert archive.getnames() == [
            "fold-0/students/small/model.safetensors",
            "fold-0/students/small/run.json",
            "fold-0/teachers/large/run.json",
        ]
    with tarfile.open(tmp_path / "a" / "tiny-bank-fold-0.tar") as archive:
        assert archive.getnames() == ["fold-0/bank/bank.json", "fold-0/bank/teacher/shard.safetensors"]


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_fetch_puts_them_where_runs_expect_them(work: Path, tmp_path: Path, scheme: str):
    index, _ = build(work, tmp_path / "release")
    arguments = ["fetch-artifacts", "--from", f"{scheme}{tmp_path / 'release'}", "--index", str(index)]
    for _ in range(2):  # what is there already and the same stays
        done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "again")])
        assert done.exit_code == 0, done.output
    again = tmp_path / "again" / "tiny" / "fold-0"
    assert (again / "students" / "small" / "model.safetensors").read_bytes() == b"weights of fold-0/students/small"
    assert (again / "bank" / "teacher" / "shard.safetensors").read_bytes() == b"logits"
    assert "tiny-bank-fold-0: 2 files" in done.output


def test_a_changed_archive_is_refused_before_anything_is_unpacked(work: Path, tmp_path: Path):
    index, made = build(work, tmp_path / "release")
    archive = tmp_path / "release" / "tiny-runs.tar"
    archive.write_bytes(archive.read_bytes().replace(b"weights of", b"WEIGHTS of"))
    with pytest.raises(IntegrityError, match=f"tiny-runs.tar has .* the index expects .*{made[0].sha256}"):
        artifacts.fetch(artifacts.read_index(index).find(["tiny-runs"]), str(tmp_path / "release"), tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_another_file_in_the_place_is_never_replaced(work: Path, tmp_path: Path):
    index, _ = build(work, tmp_path / "release")
    mine = tmp_path / "again" / "tiny" / "fold-0" / "students" / "small" / "model.safetensors"
    write(mine, b"my own")
    with pytest.raises(InputError, match="is there with another content"):
        artifacts.fetch(artifacts.read_index(index).find(["tiny-runs"]), str(tmp_path / "release"), tmp_path / "again")
    assert mine.read_bytes() == b"my own"
    assert not (mine.parent / "run.json").exists()


@pytest.mark.parametrize("kind", ["outside", "link"])
def test_a_member_that_leads_outside_is_refused(tmp_path: Path, kind: str):
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("../outside" if kind == "outside" else "inside")
        if kind == "link":
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hosts"
        archive.addfile(entry, io.BytesIO())
    with pytest.raises(IntegrityError, match=r"odd\.tar"):
        artifacts.unpack(path, tmp_path / "here")
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "here").exists()


def test_what_is_missing_is_told(work: Path, tmp_path: Path):
    index, _ = build(work, tmp_path / "release")
    with pytest.raises(InputError, match="no artefact is called 'dream'; there are tiny-bank-fold-0, tiny-runs"):
        artifacts.read_index(index).find(["dream"])
    with pytest.raises(InputError, match=r"no such archive: .*tiny-runs\.tar"):
        artifacts.fetch(artifacts.read_index(index).find(["tiny-runs"]), str(tmp_path / "empty"), tmp_path / "again")
    with pytest.raises(InputError, match="holds no finished run"):
        build(tmp_path / "empty", tmp_path / "release")


def test_the_index_of_the_repository_is_read_by_default():
    listed = CliRunner().invoke(app, ["fetch-artifacts", "--list"])
    assert listed.exit_code == 0
    for artifact in artifacts.read_index(ROOT / "results" / "artifacts.json").artifacts:
        assert f"{artifact.name}  {artifact.bytes / 1e6:.1f} MB" in listed.output
        assert (ROOT / "recipes" / f"{artifact.recipe}.toml").exists()


def test_an_entry_of_the_same_name_is_replaced(work: Path, tmp_path: Path):
    index, before = build(work, tmp_path / "release")
    write(work / "fold-0" / "students" / "small" / "model.safetensors", b"trained again")
    build(work, tmp_path / "release")
    after = {one.name: one for one in artifacts.read_index(index).artifacts}
    assert set(after) == {one.name for one in before}
    archive = (tmp_path / "release" / "tiny-runs.tar").read_bytes()
    assert after["tiny-runs"].sha256 == hashlib.sha256(archive).hexdigest() != before[0].sha256
