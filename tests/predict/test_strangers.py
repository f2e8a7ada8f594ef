"""A stranger's bundle is data: what it may hold is known, and what is broken in it ends in one of our errors."""

import contextlib
import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dermdistill.errors import DermdistillError, IntegrityError
from dermdistill.files import sha256_file
from dermdistill.networks.registry import names
from dermdistill.predict import bundle as bundle_module
from dermdistill.predict import graphs
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.predict.graphs import OPERATORS, check_graph
from dermdistill.predict.predictor import Predictor
from dermdistill.predict.vectors import verify

onnx = pytest.importorskip("onnx")
helper, TensorProto = onnx.helper, onnx.TensorProto


def _signed(folder):
    """Give bundle.json the hashes of the files as they are."""
    content = json.loads((folder / "bundle.json").read_text())
    content["files"] = {name: sha256_file(folder / name) for name in content["files"]}
    (folder / "bundle.json").write_text(json.dumps(content))


def _edited(path, edit):
    model = onnx.load(path)
    edit(model)
    path.write_bytes(model.SerializeToString())


def _branch(name):
    shape = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
    node = helper.make_node("Constant", [], [name], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.0]))
    return helper.make_graph([node], name, [], [shape])


def _outside(tensor):
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _condition(model):
    model.graph.node.append(
        helper.make_node("If", ["c"], ["d"], then_branch=_branch("a"), else_branch=_branch("b"))
    )  # fmt: skip


def _hidden_branch(model):
    """An allowed operator that carries a graph."""
    model.graph.node[0].attribute.append(helper.make_attribute("body", _branch("a")))


def _function(model):
    model.functions.append(helper.make_function("own", "F", ["x"], ["y"], [], []))


def _constant_outside(model):
    value = helper.make_tensor("v", TensorProto.FLOAT, [1], [0.0])
    _outside(value)
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=value))


@pytest.mark.parametrize("graph", ["model.onnx", "pixels.onnx"])
@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (_condition, "uses the operator 'If', which is not allowed"),
        (_hidden_branch, "has a subgraph in an operator"),
        (_function, "defines functions or training"),
        (lambda model: model.training_info.add(), "defines functions or training"),
        (lambda model: _outside(model.graph.initializer[0]), "keeps weights in another file"),
        (_constant_outside, "keeps weights in another file"),
        (lambda model: model.graph.sparse_initializer.add(), "has sparse weights"),
        (lambda model: setattr(model.graph.node[0], "op_type", "RandomNormal"), "uses the operator 'RandomNormal'"),
        (lambda model: setattr(model.graph.node[0], "domain", "evil"), "uses the operator 'evil:"),
        (lambda model: model.opset_import.add(domain="com.microsoft", version=1), "the domain 'com.microsoft'"),
        (lambda model: setattr(model.opset_import[0], "version", 99), "uses version 99 of the ONNX operators"),
        (lambda model: model.ClearField("graph"), "it has no operators"),
    ],
)
def test_a_graph_that_is_more_than_arithmetic_is_refused(trained, tmp_path, graph, edit, told):
    folder = tmp_path / "bundle"
    shutil.copytree(trained.bundle, folder)
    _edited(folder / graph, edit)
    _signed(folder)
    with pytest.raises(IntegrityError, match=told):
        read_bundle(folder)


def test_all_of_our_own_networks_are_allowed(trained):
    """The network that ships, the one that tests train, and the resize."""
    assert {"repds", "lite0_cut"} < set(names())
    for path in (trained.bundle / "pixels.onnx", trained.bundle / "model.onnx", default_bundle() / "model.onnx"):
        used = {node.op_type for node in onnx.load(path).graph.node}
        assert used <= OPERATORS
        check_graph(path)


def test_no_operator_has_a_subgraph_or_does_more_than_compute():
    schemas = {schema.name: schema for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    kinds = {onnx.defs.OpSchema.AttrType.GRAPH, onnx.defs.OpSchema.AttrType.GRAPHS}
    for name in OPERATORS:
        assert not kinds & {attribute.type for attribute in schemas[name].attributes.values()}, name
        assert "Random" not in name
        assert "Sequence" not in name
        assert "String" not in name


@pytest.mark.parametrize(
    "name", ["../model.onnx", "/etc/passwd", "a/b", "a\\b", ".hidden", "", "..", "x" * 101, "a\nb"]
)
def test_a_file_name_cannot_leave_the_folder(trained, tmp_path, name):
    folder = tmp_path / "bundle"
    shutil.copytree(trained.bundle, folder)
    content = json.loads((folder / "bundle.json").read_text())
    content["files"][name] = "0" * 64
    (folder / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=r"bundle\.json is damaged:\n  files"):
        read_bundle(folder)


def test_what_is_too_large_is_refused_before_it_is_read(trained, tmp_path, monkeypatch):
    folder = tmp_path / "bundle"
    shutil.copytree(trained.bundle, folder)
    monkeypatch.setattr(bundle_module, "MAX_GRAPH", 1000)
    with pytest.raises(IntegrityError, match=r"has \d+ bytes, at most 1000 are read"):
        read_bundle(folder)
    monkeypatch.setattr(graphs, "MAX_GRAPH", 1000)
    with pytest.raises(IntegrityError, match=r"has \d+ bytes, at most 1000 are read"):
        check_graph(folder / "model.onnx")
    monkeypatch.setattr(graphs, "MAX_GRAPH", 10**9)
    monkeypatch.setattr(graphs, "MAX_NODES", 3)
    with pytest.raises(IntegrityError, match=r"has \d+ nodes, at most 3 are allowed"):
        check_graph(folder / "model.onnx")
    with (folder / "bundle.json").open("a") as stream:
        stream.write(" " * 5_000_000)
    with pytest.raises(IntegrityError, match=r"bundle\.json has \d+ bytes, at most"):
        read_bundle(folder)


# Whatever is broken, the error is one of ours


@pytest.fixture(scope="module")
def scratch(trained, tmp_path_factory):
    """A copy of the bundle that examples may harm, and its contents when whole."""
    folder = tmp_path_factory.mktemp("strangers") / "bundle"
    shutil.copytree(trained.bundle, folder)
    return folder, {path.name: path.read_bytes() for path in folder.iterdir()}


def _use(folder):
    """All that a reader does with a bundle."""
    bundle = read_bundle(folder)
    size = bundle.spec.input.size
    found = Predictor(bundle, threads=1).probabilities(np.zeros((1, size, size, 3), np.uint8))
    assert found.shape == (1, len(bundle.spec.classes))
    verify(bundle)


def _only_our_errors(folder):
    with contextlib.suppress(DermdistillError):
        _use(folder)


def _restore(scratch):
    folder, whole = scratch
    for name, content in whole.items():
        (folder / name).write_bytes(content)
    return folder


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _places(content, place=()):
    """The place of every value."""
    yield place
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, inner in entries:
        yield from _places(inner, (*place, key))


@given(data=st.data())
@EXAMPLES
def test_another_value_anywhere_in_bundle_json(scratch, data):
    folder = _restore(scratch)
    content = [json.loads((folder / "bundle.json").read_text())]
    place = data.draw(st.sampled_from(sorted(_places(content), key=str)[1:]))
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    if data.draw(st.booleans()) and isinstance(inner, dict):
        del inner[place[-1]]
    else:
        inner[place[-1]] = data.draw(JSON)
    (folder / "bundle.json").write_text(json.dumps(content[0]))
    _only_our_errors(folder)


@given(content=st.binary(max_size=40) | st.sampled_from([b"[" * 100_000, b"9" * 10_000, b'{"format": 1e999}', b"\xff"]))
@EXAMPLES
def test_any_bytes_as_bundle_json(scratch, content):
    folder = _restore(scratch)
    (folder / "bundle.json").write_bytes(content)
    with pytest.raises(DermdistillError):
        _use(folder)


@given(graph=st.sampled_from(["model.onnx", "pixels.onnx"]), data=st.data())
@EXAMPLES
def test_any_bytes_within_a_graph_whose_hash_is_right(scratch, graph, data):
    """Names, operators, shapes and lengths are in the first and last thousands of bytes, the weights between."""
    folder = _restore(scratch)
    content = bytearray((folder / graph).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 4000) | st.integers(0, len(content) - 1))
        content[place % len(content)] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    (folder / graph).write_bytes(content)
    _signed(folder)
    _only_our_errors(folder)


def test_the_scratch_bundle_is_whole_when_restored(scratch):
    _use(_restore(scratch))
