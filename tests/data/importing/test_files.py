"""Which file is which image: masks, thumbnails, litter, links, other names and other formats."""

import io
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image, ImageDraw

from dermdistill.data.importing.datasets import import_dataset
from dermdistill.data.importing.survey import COPIES, LITTER, MASKS, THUMBNAILS, UNUSED, is_mask, survey
from dermdistill.errors import InputError
from dermdistill.images.formats import AVIF, HEIC, is_installed

ROWS = {"ISIC_0000001": "mel", "ISIC_0000002": "nv"}


def _table(ids=ROWS):
    return "lesion_id,image_id,dx\n" + "".join(f"L{n},{name},{dx}\n" for n, (name, dx) in enumerate(ids.items()))


@pytest.fixture
def ham(tmp_path, picture):
    """A set of two images in HAM10000's layout."""
    (tmp_path / "images").mkdir()
    for number, name in enumerate(ROWS):
        picture(number).save(tmp_path / "images" / f"{name}.jpg")
    (tmp_path / "HAM10000_metadata.csv").write_text(_table())
    return tmp_path


def _mask(path, mode="L", size=96):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).ellipse((20, 20, 70, 70), fill=255)
    mask.convert(mode).save(path)


def _imported(folder, **options):
    result = import_dataset(folder, **options)
    return {name: Path(path).relative_to(folder).as_posix() for name, path in
            zip(result.manifest["image_id"], result.manifest["path"], strict=True)}, result  # fmt: skip


def test_thumbnails_of_the_same_name_lose(case):
    """`28x28/` comes before `images/`."""
    root = case("thumbs_same_stem")
    files, result = _imported(root)
    assert len(files) == 8
    assert all(path.startswith("images/") for path in files.values())
    assert len(result.passed_over[THUMBNAILS]) == 8


@pytest.mark.parametrize(
    ("place", "mode"),
    [
        ("HAM10000_segmentations_lesion_tschandl/{}_segmentation.png", "L"),
        ("a_masks/{}.png", "L"),
        ("a/{}.png", "1"),
        ("a/{}.png", "L"),
        ("a/{}.png", "RGB"),
        ("a/{}_lesion.bmp", "1"),
        ("a/{}_mask.jpg", "L"),
        ("images/{}_superpixels.png", "RGB"),
        ("ISIC2018_Task2_Training_GroundTruth_v3/{}_attribute_globules.png", "L"),
    ],
)
def test_a_mask_is_not_the_image(ham, place, mode):
    for name in ROWS:
        _mask(ham / place.format(name), mode)
    files, result = _imported(ham)
    assert files == {name: f"images/{name}.jpg" for name in ROWS}
    assert len(result.passed_over[MASKS]) == 2


@pytest.mark.parametrize("mode", ["1", "L"])
def test_a_mask_alone_is_not_the_image_either(ham, mode):
    (ham / "images" / "ISIC_0000002.jpg").unlink()
    _mask(ham / "other" / "ISIC_0000002.png", mode)
    files, result = _imported(ham)
    assert list(files) == ["ISIC_0000001"]
    assert result.set_aside == [("ISIC_0000002", "no image file")]


def test_masks_in_class_folders(tmp_path, picture):
    for number, name in enumerate(("melanoma", "nevus")):
        (tmp_path / name).mkdir()
        picture(number).save(tmp_path / name / "a.png")
        _mask(tmp_path / name / "a_lesion.bmp", "1")
        _mask(tmp_path / name / "b.png", "1")
    files, result = _imported(tmp_path)
    assert sorted(files.values()) == ["melanoma/a.png", "nevus/a.png"]
    assert len(result.passed_over[MASKS]) == 4


def test_a_photograph_named_lesion_or_in_grey_is_no_mask(tmp_path, picture):
    for number, name in enumerate(("melanoma", "vascular_lesion")):
        (tmp_path / name).mkdir()
        picture(number).convert("L").save(tmp_path / name / "my_lesion.png")
    files, _ = _imported(tmp_path)
    assert sorted(files.values()) == ["melanoma/my_lesion.png", "vascular_lesion/my_lesion.png"]
    assert not is_mask(tmp_path / "melanoma" / "my_lesion.png")


def test_two_different_files_for_one_id_are_refused_and_named(ham, picture):
    (ham / "other").mkdir()
    picture(9).save(ham / "other" / "ISIC_0000001.png")
    with pytest.raises(InputError, match=r"1 images have several different files(.|\n)*images/ISIC_0000001\.jpg and .*"
                       r"other/ISIC_0000001\.png"):  # fmt: skip
        import_dataset(ham)


def test_a_smaller_picture_of_something_else_is_no_thumbnail(ham, picture):
    (ham / "other").mkdir()
    picture(9, 32).save(ham / "other" / "ISIC_0000001.png")
    with pytest.raises(InputError, match="several different files"):
        import_dataset(ham)


def test_the_largest_of_folders_that_sizes_name(ham, picture):
    (ham / "images").rename(ham / "images_600x450")
    (ham / "64x64").mkdir()
    for number, name in enumerate(ROWS):
        picture(number).resize((64, 64)).save(ham / "64x64" / f"{name}.jpg")
    files, result = _imported(ham)
    assert files == {name: f"images_600x450/{name}.jpg" for name in ROWS}
    assert len(result.passed_over[THUMBNAILS]) == 2


def test_labels_of_regions_are_masks(ham):
    (ham / "labels").mkdir()
    for name in ROWS:
        Image.fromarray((np.indices((96, 96)).sum(0) // 40).astype(np.uint8)).save(ham / "labels" / f"{name}.png")
    files, result = _imported(ham)
    assert files == {name: f"images/{name}.jpg" for name in ROWS}
    assert len(result.passed_over[MASKS]) == 2


@pytest.mark.parametrize(("file", "name"), [("img_{}.jpg", "{}"), ("IMG{}-b.jpg", "{}"), ("{}.jpg", "case {}")])
def test_a_prefix_or_suffix_that_all_names_share(tmp_path, picture, file, name):
    for number in range(12):
        picture(number).save(tmp_path / file.format(f"{number:02d}"))
    ids = {name.format(f"{number:02d}"): "nv" if number else "mel" for number in range(12)}
    (tmp_path / "HAM10000_metadata.csv").write_text(_table(ids))
    files, _ = _imported(tmp_path)
    assert files == {name.format(f"{n:02d}"): file.format(f"{n:02d}") for n in range(12)}
    for number in range(12):
        picture(number + 20).save(tmp_path / ("other-" + file.format(f"{number:02d}")))
    if file != "{}.jpg":
        with pytest.raises(InputError, match="none of the 12 images"):
            import_dataset(tmp_path)


def test_a_smaller_picture_of_the_same_is_a_thumbnail_in_any_folder(ham, picture):
    (ham / "a").mkdir()
    for number, name in enumerate(ROWS):
        picture(number).resize((48, 48)).save(ham / "a" / f"{name}.jpg")
    files, result = _imported(ham)
    assert files == {name: f"images/{name}.jpg" for name in ROWS}
    assert len(result.passed_over[THUMBNAILS]) == 2


def test_the_same_bytes_twice_are_one_image(ham):
    shutil.copytree(ham / "images", ham / "backup")
    files, result = _imported(ham)
    assert files == {name: f"backup/{name}.jpg" for name in ROWS}
    assert len(result.passed_over[COPIES]) == 2


def test_litter_is_passed_over_and_counted(ham):
    litter = ["__MACOSX/images/ISIC_0000001.jpg", "@eaDir/ISIC_0000001.jpg/SYNOPHOTO_THUMB_M.jpg",
              "images/._ISIC_0000001.jpg", "images/.DS_Store", "images/Thumbs.db"]  # fmt: skip
    for name in litter:
        (ham / name).parent.mkdir(parents=True, exist_ok=True)
        (ham / name).write_bytes(b"\x00\x05\x16\x07")
    files, result = _imported(ham)
    assert files == {name: f"images/{name}.jpg" for name in ROWS}
    assert len(result.passed_over[LITTER]) == 5
    assert survey(ham).images == [ham / "images" / f"{name}.jpg" for name in ROWS]


def test_other_formats_in_a_folder_are_named_and_counted(case, import_command):
    run, out = import_command(case("folder_skips") / "classes")
    assert run.exit_code == 0, run.output
    for told in ("1 GIF files (.gif)", "1 system files"):
        assert f"passed over {told}" in run.output
    aside = out.with_name("m.set_aside.csv")
    told = run.output + out.read_text() + (aside.read_text() if aside.exists() else "")
    for kind, file in ((AVIF, "c.avif"), (HEIC, "d.heic")):  # read, set aside or passed over: never without a word
        assert is_installed(kind) or f"passed over 1 {kind.name} files" in run.output
        assert f"melanoma/{file}" in told or f"melanoma_{file[0]}" in told


@pytest.mark.parametrize(
    "called", ["{}.jpg", "{}.JPG", "images/{}.jpg", "HAM10000_images_part_1\\{}.jpg", "./x/{}", "{}_downsampled"]
)
def test_what_tables_call_images(ham, called):
    """With extension, folder, or suffix; the id in the manifest is the plain one where it can be."""
    (ham / "HAM10000_metadata.csv").write_text(_table({called.format(name): dx for name, dx in ROWS.items()}))
    files, result = _imported(ham)
    assert list(files.values()) == [f"images/{name}.jpg" for name in ROWS]
    if "_down" not in called:
        assert list(files) == list(ROWS)
    assert result.manifest["melanoma"].tolist() == [1, 0]


@pytest.mark.parametrize("rename", [str.lower, "{}_resized".format, "export-{}".format])
def test_what_files_are_called(ham, rename):
    for name in ROWS:
        (ham / "images" / f"{name}.jpg").rename(ham / "images" / f"{rename(name)}.JPG")
    files, _ = _imported(ham)
    assert files == {name: f"images/{rename(name)}.JPG" for name in ROWS}


def test_equal_names_in_different_folders_are_told_apart_by_the_folder(tmp_path, picture):
    for number, place in enumerate(("p1/1.jpg", "p2/1.jpg")):
        (tmp_path / place).parent.mkdir()
        picture(number).save(tmp_path / place)
    (tmp_path / "HAM10000_metadata.csv").write_text(_table({"p1/1.jpg": "mel", "p2/1.jpg": "nv"}))
    files, _ = _imported(tmp_path)
    assert files == {"p1_1": "p1/1.jpg", "p2_1": "p2/1.jpg"}


def test_links_to_folders_are_followed_and_loops_refused(case):
    root = case("symlinked_folders")
    for link in (root / "table" / "images", root / "classes" / "melanoma"):
        link.unlink()
        link.symlink_to(Path("..", "store"))
    assert len(import_dataset(root / "table").manifest) == 4
    assert import_dataset(root / "classes").manifest["melanoma"].sum() == 4
    (root / "store" / "again").symlink_to(root / "table")
    with pytest.raises(InputError, match="makes a loop"):
        import_dataset(root / "table")


@pytest.mark.parametrize("folder", ["table", "classes"])
def test_a_link_that_was_copied_as_text_is_refused(case, folder):
    """As git writes links where the system has none; the class melanoma would vanish without a word."""
    with pytest.raises(InputError, match=r"a text file that says '\.\./store'"):
        import_dataset(case("symlinked_folders") / folder)


def test_nothing_found_is_an_error_that_says_what_was(ham, import_command):
    shutil.rmtree(ham / "images")
    (ham / "ISIC_0000001.dcm").write_bytes(b"DICM")
    (ham / "x.jpg").write_bytes(b"")
    run, out = import_command(ham)
    assert run.exit_code != 0
    told = str(run.exception)
    assert "none of the 2 images that the table names has a file" in told
    assert "1 DICOM files (.dcm), e.g. ISIC_0000001.dcm" in told
    assert "1 images, e.g. x.jpg" in told
    assert not out.exists()


def test_only_damaged_images_are_an_error(ham):
    for name in ROWS:
        (ham / "images" / f"{name}.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"none of 2 images can be read; the first: .*ISIC_0000001\.jpg"):
        import_dataset(ham)


def test_class_folders_with_other_formats_alone_are_an_error(tmp_path):
    (tmp_path / "melanoma").mkdir()
    (tmp_path / "melanoma" / "a.dcm").write_bytes(b"DICM")
    with pytest.raises(InputError, match=r"holds no images in the layout 'folders'.*1 DICOM files"):
        import_dataset(tmp_path, "folders")


def test_files_that_no_row_uses_are_counted(case):
    """The whole record of HAM10000: its test part has a table in HAM10000's columns, named like a challenge's."""
    root = case("dataverse_record")
    files, result = _imported(root)
    assert len(files) == 4
    assert result.manifest["source"].unique().tolist() == ["ham10000"]
    assert len(result.passed_over[UNUSED]) == 2
    test = import_dataset(root, "isic2018").manifest
    assert test["image_id"].tolist() == ["ISIC_9500000", "ISIC_9500001"]
    assert test["diagnosis"].tolist() == ["nv", "nv"]


@pytest.mark.parametrize("as_array", [False, True])
def test_images_in_hdf5_are_read_as_isic_2024_stores_them(tmp_path, picture, as_array):
    root = tmp_path / "set"
    root.mkdir()
    text = "isic_id,target,patient_id,iddx_full\nISIC_0000001,1,P1,Malignant::Melanoma\nISIC_0000002,0,P2,Benign\n"
    (root / "train-metadata.csv").write_text(text)
    contents = []
    with h5py.File(root / "train-image.hdf5", "w") as store:
        for number, name in enumerate(ROWS):
            stream = io.BytesIO()
            picture(number).save(stream, "JPEG")
            contents.append(stream.getvalue())
            encoded = np.frombuffer(contents[-1], np.uint8)
            store.create_dataset(name, data=encoded if as_array else np.void(contents[-1]))
    result = import_dataset(root, extracted=tmp_path / "out")
    assert [Path(path).read_bytes() for path in result.manifest["path"]] == contents
    assert Path(result.manifest["path"][0]) == tmp_path / "out" / "ISIC_0000001.jpg"
    assert result.manifest["melanoma"].tolist() == [1, 0]
    inside = import_dataset(root).manifest["path"]
    assert Path(inside[0]) == root / "images" / "ISIC_0000001.jpg"
    assert import_dataset(root).manifest["path"].tolist() == inside.tolist()
    (root / "train-image.hdf5").write_bytes(b"no HDF5")
    assert len(import_dataset(root).manifest) == 2, "not opened where all images have files"
    shutil.rmtree(root / "images")
    with pytest.raises(InputError, match="not readable as HDF5"):
        import_dataset(root)


def test_a_folder_of_arrays_or_films_alone_says_what_it_holds(tmp_path):
    (tmp_path / "train-image.hdf5").write_bytes(b"")
    (tmp_path / "b.dcm").write_bytes(b"DICM")
    with pytest.raises(InputError, match=r"known layouts, but 1 DICOM files \(\.dcm\).*1 HDF5 files"):
        import_dataset(tmp_path)
    with pytest.raises(InputError, match=r"b\.dcm is a file; expected a folder, or a table"):
        import_dataset(tmp_path / "b.dcm")


def test_two_files_of_one_name_in_a_class_folder(tmp_path, picture):
    for number, name in enumerate(("melanoma", "nevus")):
        (tmp_path / name).mkdir()
        picture(number).save(tmp_path / name / "a.jpg")
    picture(0, 32).save(tmp_path / "melanoma" / "a.png")
    files, result = _imported(tmp_path)
    assert files == {"melanoma_a": "melanoma/a.jpg", "nevus_a": "nevus/a.jpg"}
    assert len(result.passed_over[THUMBNAILS]) == 1
    picture(9).save(tmp_path / "melanoma" / "a.png")
    with pytest.raises(InputError, match=r"melanoma/a\.jpg and .*melanoma/a\.png"):
        import_dataset(tmp_path)


def test_small_copies_of_class_folders_are_thumbnails(tmp_path, picture):
    for number, name in enumerate(("melanoma", "nevus")):
        for folder, side in (("images", 96), ("28x28", 28)):
            (tmp_path / folder / name).mkdir(parents=True)
            picture(number).resize((side, side)).save(tmp_path / folder / name / "a.png")
    files, result = _imported(tmp_path)
    assert sorted(files.values()) == ["images/melanoma/a.png", "images/nevus/a.png"]
    assert len(result.passed_over[THUMBNAILS]) == 2


def test_a_path_says_which_file(ham, picture):
    (ham / "other").mkdir()
    picture(9).save(ham / "other" / "ISIC_0000001.jpg")
    ids = {"other/ISIC_0000001.jpg": "mel", str(ham / "images" / "ISIC_0000002.jpg"): "nv"}
    (ham / "HAM10000_metadata.csv").write_text(_table(ids))
    assert import_dataset(ham).manifest["path"].tolist() == [
        str(ham / "other" / "ISIC_0000001.jpg"), str(ham / "images" / "ISIC_0000002.jpg"),
    ]  # fmt: skip
