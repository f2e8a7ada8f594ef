"""One's own tables and class folders, and what a manifest keeps of them."""

import openpyxl
import pytest
from PIL import Image

from dermdistill.data.importing.datasets import import_dataset
from dermdistill.data.importing.own import Own
from dermdistill.errors import InputError
from dermdistill.files import sha256_file


@pytest.fixture
def photos(tmp_path, picture):
    """A folder photos/ with a.jpg, b.jpg and c.jpg."""
    (tmp_path / "photos").mkdir()
    for number, name in enumerate("abc"):
        picture(number).save(tmp_path / "photos" / f"{name}.jpg")
    return tmp_path


def test_a_table_with_common_names_needs_no_options(photos):
    text = "File Name;Diagnosis;Patient ID;Lesion;Age;Gender\na.jpg;Melanoma;P1;1;50;M\nb.jpg;Nevi;P1;2;50;female\n"
    (photos / "mine.csv").write_text(text)
    result = import_dataset(photos / "mine.csv")
    table = result.manifest
    assert table["image_id"].tolist() == ["a", "b"]
    assert table["diagnosis"].tolist() == ["mel", "nv"]
    assert table["patient_id"].tolist() == ["P1", "P1"]
    assert table["lesion_id"].tolist() == ["1", "2"]
    assert table["age"].tolist() == [50, 50]
    assert table["sex"].tolist() == ["male", "female"]
    assert table["source"].tolist() == ["table", "table"]
    first = photos / "photos" / "a.jpg"
    assert table["sha256"][0] == sha256_file(first)
    assert (table["width"][0], table["height"][0]) == Image.open(first).size
    assert import_dataset(photos).manifest.equals(table), "the one table of a folder is found"


def test_columns_labels_and_images_that_are_named(photos, import_command):
    tables = photos / "tables"
    tables.mkdir()
    (tables / "t.tsv").write_text("nr\tresult\twho\nphotos/a.jpg\tpos\tX\nphotos/b.jpg\tneg\tY\nphotos/c.jpg\tneg\tY\n")
    options = ["--image-column", "nr", "--label-column", "result", "--patient-column", "who"]
    run, out = import_command(tables / "t.tsv", *options, "--images", str(photos))
    assert "--melanoma-label" in str(run.exception)
    run, out = import_command(tables / "t.tsv", *options, "--images", str(photos), "--melanoma-label", "pos")
    assert run.exit_code == 0, run.output
    assert "labels taken for no melanoma: 'neg'" in run.output
    lines = out.read_text().splitlines()
    assert [line.split(",")[6] for line in lines[1:]] == ["1", "0", "0"]
    assert [line.split(",")[8] for line in lines[1:]] == ["X", "Y", "Y"]


def test_excel(photos):
    book = openpyxl.Workbook()
    for row in (["Image", "Label", "Patient"], ["a", "MEL", 7], ["b", "NEV", 8]):
        book.active.append(row)
    book.save(photos / "mine.xlsx")
    table = import_dataset(photos / "mine.xlsx").manifest
    assert table["diagnosis"].tolist() == ["mel", "nv"]
    assert table["patient_id"].tolist() == ["7", "8"]


def test_a_column_melanoma_answers_yes_or_no(photos):
    (photos / "t.csv").write_text("image,melanoma,patient\na,1,P\nb,0,P\n")
    table = import_dataset(photos / "t.csv").manifest
    assert table["melanoma"].tolist() == [1, 0]
    assert table["diagnosis"].fillna("").tolist() == ["mel", ""]
    (photos / "t.csv").write_text("image,melanoma,patient\na,1,P\nb,0.93,P\n")
    with pytest.raises(InputError, match=r"column 'melanoma' must be 0 or 1, got \['0\.93'\]"):
        import_dataset(photos / "t.csv")
    (photos / "t.csv").write_text("image,target,patient\na,1,P\nb,0,P\n")
    with pytest.raises(InputError, match=r"'1' \(1\), '0' \(1\).*--melanoma-label"):
        import_dataset(photos / "t.csv")
    for label in ("1", "1.0"):
        taken = import_dataset(photos / "t.csv", own=Own(melanoma_labels=(label,))).manifest
        assert taken["melanoma"].tolist() == [1, 0]


def test_columns_that_are_not_there_are_asked_for(photos):
    (photos / "t.csv").write_text("foo,label\na,mel\n")
    with pytest.raises(InputError, match="known to hold the image; name it with --image-column, one of: foo, label"):
        import_dataset(photos / "t.csv")
    with pytest.raises(InputError, match="has no column bar; it has foo, label"):
        import_dataset(photos / "t.csv", own=Own(image="bar"))


def test_a_table_without_patients_is_noted(photos):
    (photos / "t.csv").write_text("image,label\na,mel\nb,nv\n")
    assert any("no column of patients or lesions" in note for note in import_dataset(photos / "t.csv").notes)


def test_types_of_images_in_a_table(photos):
    (photos / "t.csv").write_text(
        "image,label,patient,modality\na,mel,P,Dermatoscopy\nb,nv,P,dermoscopic\nc,nv,P,clinical\n"
    )
    result = import_dataset(photos / "t.csv")
    assert result.manifest["image_id"].tolist() == ["a", "b"]
    assert result.dropped == {"image type 'clinical'": 1}


def test_images_that_a_table_lacks_or_a_folder_lacks(photos):
    (photos / "t.csv").write_text("image,label,patient\na,mel,P\nmissing,nv,P\n,nv,P\n")
    result = import_dataset(photos / "t.csv")
    assert result.manifest["image_id"].tolist() == ["a"]
    assert result.set_aside == [("missing", "no image file")]
    assert result.dropped == {"rows that name no image": 1}


def test_class_folders_keep_patients_of_a_table_beside_them(tmp_path, picture):
    for number, (kind, name) in enumerate((("melanoma", "a"), ("nevus", "b"), ("nevus", "c"))):
        (tmp_path / kind).mkdir(exist_ok=True)
        picture(number).save(tmp_path / kind / f"{name}.jpg")
    (tmp_path / "patients.csv").write_text("filename,patient_id,age\na.jpg,P1,50\nc.jpg,P1,50\n")
    table = import_dataset(tmp_path).manifest
    assert table["patient_id"].fillna("").tolist() == ["P1", "", "P1"]
    assert table["age"].tolist()[0] == 50
    (tmp_path / "patients.csv").write_text("filename,patient_id\na.jpg,P1\na.jpg,P2\n")
    with pytest.raises(InputError, match=r"patients\.csv names images twice, e\.g\. a"):
        import_dataset(tmp_path)


def test_class_folders_keep_patients_and_lesions_of_folders(tmp_path, picture, import_command):
    for number, place in enumerate(("melanoma/P1/1", "nevus/P1/2", "nevus/P2/1")):
        (tmp_path / "set" / place).mkdir(parents=True)
        picture(number).save(tmp_path / "set" / place / "x.jpg")
    with pytest.raises(InputError, match=r"--levels class/patient"):
        import_dataset(tmp_path / "set")
    table = import_dataset(tmp_path / "set", own=Own(levels=("class", "patient", "lesion"))).manifest
    assert table["diagnosis"].tolist() == ["mel", "nv", "nv"]
    assert table["patient_id"].tolist() == ["P1", "P1", "P2"]
    assert table["lesion_id"].tolist() == ["P1/1", "P1/2", "P2/1"]
    run, _ = import_command(tmp_path / "set", "--levels", "class/who")
    assert "name one class" in str(run.exception)


def test_one_hot_labels_and_tables_with_other_sets_names(photos):
    (photos / "metadata.csv").write_text("image,MEL,NV,UNK,patient_id\na,1.0,0.0,0.0,P\nb,0.0,1.0,0.0,Q\nc,0,0,1,Q\n")
    with pytest.raises(InputError, match=r"'UNK' \(1\)"):
        import_dataset(photos)
    assert import_dataset(photos, drop_unknown=True).manifest["diagnosis"].tolist() == ["mel", "nv"]
    (photos / "metadata.csv").rename(photos / "train.csv")
    (photos / "train.csv").write_text("image,target,patient_id\na,mel,P\nb,nv,Q\n")
    assert import_dataset(photos).manifest["source"].unique().tolist() == ["table"]
