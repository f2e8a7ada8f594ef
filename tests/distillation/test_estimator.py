"""A student as a scikit-learn estimator."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from dermdistill import StudentClassifier
from dermdistill.distillation.estimator import EXPECTED_FAILED_CHECKS
from dermdistill.errors import InputError

LEARNS = {"epochs": 30, "batch_size": 16, "learning_rate": 1e-2}
"""Each step shows all images, so that BatchNorm sees in training what it is given in the end."""


def tiny(**options):
    return StudentClassifier(
        "repds", **{"image_size": 32, "epochs": 1, "batch_size": 8, "accelerator": "cpu"} | options
    )


@pytest.fixture(scope="module")
def data():
    """16 images, dark ones with the label 'mole', and their labels."""
    rng = np.random.default_rng(0)
    labels = np.array(["mole", "skin"] * 8)
    images = rng.integers(0, 60, (16, 40, 48, 3), dtype=np.uint8)
    images[labels == "skin"] += 150
    return images, labels


@pytest.fixture(scope="module")
def fitted(data):
    return tiny(**LEARNS).fit(*data)


class Tabled(StudentClassifier):
    """Says that it takes tables; else scikit-learn leaves out all its checks but one."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


def test_check_estimator_where_it_applies():
    (alone,) = check_estimator(tiny(), on_skip=None)
    assert alone["status"] == "passed"
    results = check_estimator(Tabled("repds"), legacy=False, expected_failed_checks=EXPECTED_FAILED_CHECKS)
    status = {one["check_name"]: one["status"] for one in results}
    assert {name for name, found in status.items() if found == "xfail"} == set(EXPECTED_FAILED_CHECKS)
    passed = {name for name, found in status.items() if found == "passed"}
    assert {
        "check_estimator_repr", "check_no_attributes_set_in_init", "check_estimators_unfitted",
        "check_do_not_raise_errors_in_init_or_set_params", "check_mixin_order", "check_valid_tag_types",
    } <= passed  # fmt: skip
    assert set(status.values()) == {"passed", "xfail"}


def test_the_checks_that_need_images_hold_with_images(data):
    images, labels = data
    images.flags.writeable = False
    model = tiny()
    before = model.get_params()
    assert model.fit(images, labels) is model
    images.flags.writeable = True
    assert model.get_params() == before
    assert {name for name in vars(model) if name.endswith("_")} == {
        "classes_", "image_size_", "loss_", "mean_", "network_", "std_",
    }  # fmt: skip
    assert vars(clone(model)).keys() == before.keys()


def test_it_learns_and_its_answers_fit_together(data, fitted):
    images, labels = data
    assert fitted.classes_.tolist() == ["mole", "skin"]
    assert fitted.score(images, labels) == 1
    probabilities = fitted.predict_proba(images)
    assert probabilities.shape == (16, 2)
    assert np.abs(probabilities.sum(1) - 1).max() < 1e-12
    assert (fitted.classes_[probabilities.argmax(1)] == fitted.predict(images)).all()
    assert fitted.loss_[-1] < fitted.loss_[0]


def test_the_same_seed_gives_the_same_network(data, fitted):
    first, again = (tiny().fit(*data).predict_proba(data[0]) for _ in range(2))
    assert (first == again).all()
    copied = pickle.loads(pickle.dumps(fitted))  # noqa: S301, of our own making
    assert (copied.predict_proba(data[0]) == fitted.predict_proba(data[0])).all()


def test_paths_are_images_too(data, fitted, tmp_path):
    images, _ = data
    for number in range(3):
        Image.fromarray(images[number]).save(tmp_path / f"{number}.png")
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    assert (fitted.predict_proba(paths) == fitted.predict_proba(images[:3])).all()


def test_scikit_learns_tools_take_it(data):
    images, labels = data
    assert np.isfinite(cross_val_score(tiny(), images, labels, cv=2, scoring="roc_auc")).all()
    search = GridSearchCV(tiny(), {"learning_rate": [1e-4, 1e-3]}, cv=2, refit=False)
    assert len(search.fit(images, labels).cv_results_["params"]) == 2


def test_it_learns_what_a_teacher_says(data):
    images, labels = data
    said = np.where(labels[:, None] == "mole", [[-4.0, 4.0]], [[4.0, -4.0]])  # the opposite of the labels
    model = tiny(**LEARNS, alpha=0.0).fit(images, labels, teacher_logits=said)
    assert (model.predict(images) != labels).mean() > 0.9


@pytest.mark.parametrize(("X", "y", "logits", "told"), [
    (np.zeros((4, 9)), [0, 1, 0, 1], None, r"each of X must be an image, uint8 \[H, W, 3\].*float64 of shape \(9,\)"),
    (np.zeros((4, 40, 40, 3)), [0, 1, 0, 1], None, r"got float64 of shape \(40, 40, 3\)"),
    ([], [], None, "X must be images"),
    (np.zeros((4, 40, 40, 3), np.uint8), [0, 1], None, "one label for each of the 4 images.*got 2 labels"),
    (np.zeros((4, 40, 40, 3), np.uint8), [1, 1, 1, 1], None, "of at least two classes; got 4 labels of 1 classes"),
    (np.zeros((4, 40, 40, 3), np.uint8), [0, 1, 0, 1], np.zeros((4, 3)), r"of shape \(4, 2\).*got the shape \(4, 3\)"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(X, y, logits, told):
    with pytest.raises(InputError, match=told):
        tiny().fit(X, y, logits)


def test_it_must_be_fitted_first(data):
    with pytest.raises(NotFittedError):
        tiny().predict(data[0])


def test_the_examples_run():
    import doctest

    from dermdistill.distillation import estimator

    torch.manual_seed(0)
    assert doctest.testmod(estimator).failed == 0
