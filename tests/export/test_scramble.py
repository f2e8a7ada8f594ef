"""A graph with scrambled weights: only the last layers, only their order."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from dermdistill.export.scramble import SHARES, scramble, scrambled_answers
from dermdistill.predict.bundle import open_bundle
from dermdistill.predict.predictor import Predictor


def weights(graph: Path) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(graph).graph.initializer}


def test_only_the_last_layers_are_permuted(tmp_path: Path):
    graph = open_bundle().graph
    before = weights(graph)
    changed = {}
    for share in (0.25, 1.0):
        count = scramble(graph, share, 0, tmp_path / "scrambled.onnx")
        after = weights(tmp_path / "scrambled.onnx")
        assert after.keys() == before.keys()
        changed[share] = {name for name in before if not np.array_equal(before[name], after[name])}
        assert len(changed[share]) == count
        for name in changed[share]:
            np.testing.assert_array_equal(np.sort(before[name], axis=None), np.sort(after[name], axis=None))
    assert changed[0.25] < changed[1.0]
    last = [node for node in onnx.load(graph).graph.node if node.op_type in ("Conv", "Gemm", "MatMul")][-1]
    assert last.input[1] in changed[0.25]


def test_answers_change_and_the_bundle_does_not():
    bundle = open_bundle()
    images = np.random.default_rng(0).integers(0, 256, (4, *[bundle.spec.input.size] * 2, 3)).astype(np.uint8)
    plain = Predictor(bundle, threads=1, gate="off").probabilities(images)[:, bundle.spec.melanoma_index]
    found = scrambled_answers(bundle)
    assert len(found) == len(SHARES)
    for melanoma in found.values():
        p = melanoma(images)
        assert p.shape == (4,)
        assert ((p >= 0) & (p <= 1)).all()
        assert np.abs(p - plain).max() > 1e-4
