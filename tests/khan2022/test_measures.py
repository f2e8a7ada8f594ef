import math

import numpy as np
import pytest
import torch

from dermdistill.khan2022.measures import by_class, by_leak, figures_of, spread, target_measures
from dermdistill.khan2022.protocol import CORRECTED, Faults, soft_targets

LABELS = np.array([0, 0, 0, 1, 1])
OUTPUTS = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 0.5]], np.float32)


def test_the_figures_by_hand():
    found = figures_of(OUTPUTS, LABELS, np.arange(5), CORRECTED)
    assert found["accuracy"]["value"] == pytest.approx(3 / 5)
    assert found["confusion"] == [[2, 1], [1, 1]]
    # differences -2, -1, 1 against 3, -0.5: five of six pairs in order
    assert found["auroc"]["value"] == pytest.approx(5 / 6)
    assert found["report"]["malignant"] == {"precision": 0.5, "recall": 0.5, "f1-score": 0.5, "support": 2.0}
    assert found["report"]["benign"]["precision"] == pytest.approx(2 / 3)
    assert found["output_range"] == [pytest.approx(1 / (1 + math.exp(2))), pytest.approx(1 / (1 + math.exp(-3)))]
    assert found["n"] == 5
    assert found["roc"][0] == [0, 0]
    assert found["roc"][-1] == [1, 1]


def test_a_second_softmax_moves_the_probabilities_and_not_the_order():
    once, twice = (figures_of(OUTPUTS, LABELS, np.arange(5), Faults(softmax_twice=on)) for on in (False, True))
    assert once["auroc"] == twice["auroc"]
    assert once["accuracy"] == twice["accuracy"]
    assert once["ece"] != twice["ece"]
    assert 0.269 < twice["output_range"][0] < twice["output_range"][1] < 0.731


def test_a_softmax_of_a_softmax_does_not_tie_sure_images():
    """The order comes from the logits: in 32 bits a softmax of a sure image is 1 whatever the logits."""
    outputs = np.array([[0.0, 40.0], [0.0, 60.0], [0.0, 50.0]], np.float32)
    found = figures_of(outputs, np.array([0, 1, 1]), np.arange(3), Faults(softmax_twice=True))
    assert found["auroc"]["value"] == 1.0


def test_what_is_undefined_has_a_reason():
    found = figures_of(OUTPUTS, np.zeros(5, int), np.arange(5), CORRECTED)
    assert found["auroc"]["value"] is None
    assert "benign and malignant" in found["auroc"]["reason"]
    assert found["roc"] is None
    assert by_class(np.array([0, 1]), np.array([0, 0]))["malignant"]["precision"] is None


def test_the_interval_draws_whole_lesions():
    generator = np.random.default_rng(0)
    labels = np.repeat(generator.integers(0, 2, 40), 6)
    outputs = np.repeat(generator.normal(0, 1, (40, 2)), 6, axis=0).astype(np.float32)
    apart, together = (figures_of(outputs, labels, cluster, CORRECTED)["accuracy"]
                       for cluster in (np.arange(240), np.arange(240) // 6))  # fmt: skip
    assert apart["value"] == together["value"]
    assert together["high"] - together["low"] > 1.8 * (apart["high"] - apart["low"])


def test_seen_and_unseen_lesions_are_judged_apart():
    found = by_leak(OUTPUTS, LABELS, np.array([True, True, False, True, False]), CORRECTED)
    assert found["seen"] == {"n": 3, "accuracy": 1.0, "auroc": 1.0}
    assert found["unseen"] == {"n": 2, "accuracy": 0.0, "auroc": 0.0}
    assert by_leak(OUTPUTS, LABELS, np.zeros(5, bool), CORRECTED)["seen"] == {"n": 0, "accuracy": None, "auroc": None}


def test_the_mass_and_share_of_the_soft_term():
    faults = Faults(whole_array_softmax=True)
    targets = soft_targets(torch.zeros(8, 2), 10.0, faults)
    found = target_measures(
        targets, torch.randn(4, 2), torch.tensor([0, 1, 0, 1]), alpha=0.1, temperature=10.0, faults=faults
    )
    assert found["mass"] == {key: pytest.approx(1 / 8) for key in ("mean", "least", "most")}
    assert 0 < found["share"]["gradient"] < 1
    only = target_measures(targets, torch.randn(4, 2), torch.tensor([0, 1, 0, 1]), alpha=1.0, temperature=10.0,
                           faults=faults)  # fmt: skip
    assert only["share"] == {"value": 0.0, "gradient": 0.0}


def test_the_spread_over_seeds():
    assert spread([0.8, 0.9, 1.0]) == {
        "n": 3, "mean": pytest.approx(0.9), "sd": pytest.approx(0.1), "least": 0.8, "most": 1.0,
    }  # fmt: skip
    assert spread([0.5, None])["sd"] is None
    assert spread([None])["mean"] is None
