import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.curate import duplicates
from dermdistill.data.curate.contact_sheet import write_contact_sheet
from dermdistill.data.curate.duplicates import ORIENTATIONS, find_duplicates
from dermdistill.data.manifest import read_manifest, write_manifest
from dermdistill.errors import InputError

SAME_LESION = [
    ("ISIC_0000157", "ISIC_0014946"), ("ISIC_0000164", "ISIC_0014795"), ("ISIC_0000165", "ISIC_0014788"),
    ("ISIC_0000171", "ISIC_0015124"), ("ISIC_0000177", "ISIC_0014657"), ("ISIC_0000204", "ISIC_0014748"),
    ("ISIC_0000205", "ISIC_0014742"), ("ISIC_0000206", "ISIC_0014739"), ("ISIC_0000215", "ISIC_0015313"),
    ("ISIC_0000222", "ISIC_0014846"), ("ISIC_0000223", "ISIC_0014818"), ("ISIC_0000224", "ISIC_0014791"),
    ("ISIC_0000225", "ISIC_0014778"), ("ISIC_0000229", "ISIC_0014771"), ("ISIC_0012127", "ISIC_0012970"),
    ("ISIC_0012290", "ISIC_0013594"), ("ISIC_0012672", "ISIC_0012673"), ("ISIC_0012756", "ISIC_0013184"),
    ("ISIC_0013712", "ISIC_0013935"),
]  # fmt: skip
"""All pairs of ISIC 2017's training and validation parts that show the same lesion, by eye."""


@pytest.fixture
def lesion():
    """lesion(seed): a dark blob with texture on skin, so that images of different seeds look alike from afar."""

    def make(seed, size=128):
        random = np.random.default_rng(seed)
        y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        angle = np.arctan2(y, x)
        edge = 0.5 + sum(random.normal(0, 0.03) * np.cos(k * angle + random.uniform(0, 6)) for k in range(1, 6))
        blob = 1 / (1 + np.exp((np.hypot(x, y) - edge) * 25))
        texture = np.asarray(
            Image.fromarray(random.normal(0, 1, (size // 6, size // 6)).astype(np.float32)).resize((size, size))
        )
        shade = 1 - blob * (0.6 + 0.12 * texture) + 0.02 * texture
        return Image.fromarray((shade[..., None] * [225, 175, 160]).clip(0, 255).astype(np.uint8))

    return make


def test_all_orientations_and_recompression_are_found(tmp_path, lesion, manifest_of):
    base = lesion(0)
    base.save(tmp_path / "base.png")
    for flip in Image.Transpose:
        base.transpose(flip).save(tmp_path / f"turned{int(flip)}.png")
    base.save(tmp_path / "recompressed.jpg", quality=60)
    base.resize((117, 117)).filter(ImageFilter.GaussianBlur(0.5)).save(tmp_path / "resized.png")
    ImageEnhance.Color(ImageEnhance.Brightness(base).enhance(0.8)).enhance(1.5).save(tmp_path / "recoloured.png")
    base.crop((5, 3, 124, 125)).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "cropped_turned.jpg")
    for number in range(1, 40):
        lesion(number).save(tmp_path / f"other{number:02d}.png")
    found = find_duplicates(manifest_of(sorted(tmp_path.iterdir())))
    grouped = found.groups[found.groups.notna()]
    assert len(grouped) == 12
    assert grouped.unique().tolist() == ["base"]
    assert not found.pairs[["a", "b"]].stack().str.startswith("other").any()
    assert not found.pairs["exact"].any()


def test_the_orientation_told_turns_the_second_into_the_first(tmp_path, lesion, manifest_of):
    base = lesion(3)
    base.save(tmp_path / "a.png")
    for number, flip in enumerate(Image.Transpose):
        base.transpose(flip).save(tmp_path / f"b{number}.png")
    found = find_duplicates(manifest_of(sorted(tmp_path.iterdir())))
    pairs = found.pairs[found.pairs["a"] == "a"]
    assert len(pairs) == 7
    for row in pairs.to_dict("records"):
        flip = Image.Transpose(ORIENTATIONS.index(row["orientation"]) - 1)
        restored = Image.open(tmp_path / f"{row['b']}.png").transpose(flip)
        assert np.array_equal(np.asarray(restored), np.asarray(base)), row


def test_patterns_turn_as_images_do():
    pattern = np.arange(16, dtype=np.int8).reshape(1, 4, 4)
    for flip in Image.Transpose:
        turned = np.asarray(Image.fromarray(pattern[0].astype(np.uint8)).transpose(flip))
        assert np.array_equal(duplicates._turned(pattern, int(flip) + 1)[0], turned), flip


def test_tiles_find_what_one_comparison_finds(tmp_path, lesion, manifest_of, monkeypatch):
    for number in range(12):
        lesion(number % 8).save(tmp_path / f"{number:02d}.jpg", quality=90 - number // 8)
    manifest = manifest_of(sorted(tmp_path.iterdir()))
    whole = find_duplicates(manifest)
    assert whole.pairs[["a", "b"]].values.tolist() == [[f"{n:02d}", f"{n + 8:02d}"] for n in range(4)]
    monkeypatch.setattr(duplicates, "_TILE", 5)
    monkeypatch.setattr(duplicates, "_BATCH", 2)
    tiled = find_duplicates(manifest)
    assert tiled.pairs.drop(columns="correlation").equals(whole.pairs.drop(columns="correlation"))
    assert np.allclose(tiled.pairs["correlation"], whole.pairs["correlation"], atol=1e-4)


def test_hashes_are_compared_with_the_turned_ones():
    hashes = np.zeros((3, 8), np.uint64)
    hashes[:, 0] = [0, 2**64 - 1, 0b0111]
    hashes[2, 5] = 0b1
    hashes[1, 5] = 2**63
    rows = np.arange(3)
    close, bits = duplicates._close(hashes, rows, rows, 5, 1)
    assert close.tolist() == [[0, 1], [0, 2]]
    assert bits.tolist() == [1, 1]
    close, bits = duplicates._close(hashes, rows, rows, 0, 3)
    assert close.tolist() == [[0, 2]]
    assert bits.tolist() == [3]


def test_groups_follow_chains(make_manifest):
    names = duplicates._named_groups(make_manifest(6), [(4, 1), (1, 2)])
    assert names.isna().tolist() == [True, False, False, True, False, True]
    assert names.dropna().unique().tolist() == ["one_0001"]


def test_exact_copies_across_sources_and_unreadable_images(tmp_path, lesion, manifest_of):
    for name in "ab":
        lesion(0).save(tmp_path / f"{name}.png")
    lesion(1).save(tmp_path / "c.png")
    for name in "def":
        (tmp_path / f"{name}.png").write_text("no image" if name < "f" else "no image either")
    manifest = manifest_of(sorted(tmp_path.iterdir()))
    manifest.loc[1, "source"] = "two"
    found = find_duplicates(manifest)
    assert found.pairs[["a", "b", "exact"]].values.tolist() == [["a", "b", True], ["d", "e", True]]
    assert list(found.set_aside) == ["d", "e", "f"]
    assert "not an image" in found.set_aside["d"]
    assert found.groups.isna().tolist() == [False, False, True, False, False, True]


def test_blank_images_resemble_nothing(tmp_path, manifest_of):
    for number in range(3):
        Image.new("RGB", (64, 64), (200, 150, 100 + number)).save(tmp_path / f"{number}.png")
    assert find_duplicates(manifest_of(sorted(tmp_path.iterdir()))).pairs.empty


def test_nothing_to_compare(tmp_path, lesion, manifest_of):
    lesion(0).save(tmp_path / "a.png")
    found = find_duplicates(manifest_of([tmp_path / "a.png"]))
    assert found.pairs.empty
    assert found.groups.isna().all()


def test_the_command_writes_groups_pairs_and_a_sheet(tmp_path, lesion, manifest_of):
    images = tmp_path / "images"
    images.mkdir()
    for name, seed in (("a", 0), ("b", 0), ("c", 1), ("d", 2)):
        lesion(seed).save(images / f"{name}.png")
    lesion(2).transpose(Image.Transpose.ROTATE_90).save(images / "e.png")
    (images / "f.png").write_text("no image")
    manifest = manifest_of(sorted(images.iterdir()), source=["one", "two", "one", "one", "one", "one"])
    write_manifest(manifest, tmp_path / "m.parquet")
    asked = ["--pairs", str(tmp_path / "pairs.csv"), "--sheet", str(tmp_path / "sheet.png")]
    run = CliRunner().invoke(app, ["data", "duplicates", str(tmp_path / "m.parquet"), *asked])
    assert run.exit_code == 0, run.output
    assert "2 pairs (1 exact) in 2 groups of 4 images (1 groups within a source, 1 across)" in run.output
    assert "1 images could not be read" in run.output
    groups = read_manifest(tmp_path / "m.parquet")["duplicate_group"]
    assert groups.fillna("").tolist() == ["a", "a", "", "d", "d", ""]
    assert "rotate 270" in (tmp_path / "pairs.csv").read_text()
    assert Image.open(tmp_path / "sheet.png").width > 600


def test_the_options_of_the_command_are_the_library_s():
    shown = CliRunner().invoke(app, ["data", "duplicates", "--help"], env={"COLUMNS": "200"}).output
    assert f"[default: {duplicates.DISTANCE}]" in shown
    assert f"[default: {duplicates.CORRELATION}]" in shown


def test_a_sheet_shows_turned_images_upright(tmp_path, lesion, manifest_of):
    lesion(0).save(tmp_path / "a.png")
    lesion(0).transpose(Image.Transpose.TRANSPOSE).save(tmp_path / "b.png")
    manifest = manifest_of(sorted(tmp_path.iterdir()))
    pairs = find_duplicates(manifest).pairs
    assert write_contact_sheet(manifest, pairs, tmp_path / "sheet.png") == 1
    drawn = np.asarray(Image.open(tmp_path / "sheet.png"), np.float32)[-160:]
    assert np.abs(drawn[:, :160] - drawn[:, 160:320]).max() <= 1
    with pytest.raises(InputError, match=r"a .png or .jpg file"):
        write_contact_sheet(manifest, pairs, tmp_path / "sheet.html")
    with pytest.raises(InputError, match="no pairs"):
        write_contact_sheet(manifest, pairs.head(0), tmp_path / "sheet.png")


@pytest.mark.real_data
def test_the_pairs_of_isic_2017_known_by_eye_are_found_and_no_others(real_data, manifest_of):
    folder = real_data / "isic2017" / "images"
    found = find_duplicates(manifest_of(sorted(folder.iterdir())))
    there = {path.stem for path in folder.iterdir()}
    known = [pair for pair in SAME_LESION if there.issuperset(pair)]  # a set may leave out images of test lesions
    assert len(known) >= 4
    assert list(map(tuple, found.pairs[["a", "b"]].values)) == known
