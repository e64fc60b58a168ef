"""ONNX files of other tools are read within bounds; a bad one is refused in one line."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bmc.errors import ArtifactError, BmcError, UnknownError, UsageError
from bmc.export.graph_files import save_graph
from bmc.onnx_models import finding
from bmc.onnx_models.logits import logits_of, thresholds_of
from bmc.onnx_models.precision import precision_of
from bmc.onnx_models.reading import read
from bmc.onnx_models.running import Reference
from tests._onnx import Arrays, cnn, save


def one_node(path: Path, operator: str, *, domain: str = "", domains: tuple[str, ...] = ()) -> Path:
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    return save(path, [node], {"x": (1, 2)}, {"y": (1, 2)}, domains=domains)


def test_inputs_and_outputs_are_those_that_the_file_declares(tmp_path: Path) -> None:
    file = read(cnn(tmp_path / "cnn.onnx"))
    assert [(info.name, info.dtype, info.shape) for info in file.inputs] == [
        ("image", "float32", ("N", 3, 16, 16))
    ]
    assert [(info.name, info.shape) for info in file.outputs] == [("class/logits:0", ("N", 5))]
    assert file.opset == 17
    assert sum(int(tensor.size) for tensor in file.weights().values()) == 1125


def test_an_axis_without_a_name_gets_one(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    file = read(save(tmp_path / "x.onnx", [node], {"x": (None, 2)}, {"y": (None, 2)}))
    assert file.inputs[0].shape == ("x_0", 2)


def test_weights_in_constant_nodes_count(tmp_path: Path) -> None:
    value = helper.make_tensor("w", TensorProto.FLOAT, (2, 3), np.ones(6))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=value),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    file = read(save(tmp_path / "x.onnx", nodes, {"x": ("N", 2)}, {"y": ("N", 3)}))
    assert [int(tensor.size) for tensor in file.weights().values()] == [6]


def test_initializers_that_old_files_list_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = {"w": np.ones((2, 3), np.float32)}
    inputs: dict[str, Sequence[int | str | None]] = {"x": ("N", 2), "w": (2, 3)}
    file = read(save(tmp_path / "x.onnx", [node], inputs, {"y": ("N", 3)}, weights))
    assert [info.name for info in file.inputs] == ["x"]


def test_external_data_beside_the_file_is_read(tmp_path: Path) -> None:
    file = read(cnn(tmp_path / "cnn.onnx", external="cnn.weights"))
    assert file.external == (tmp_path / "cnn.weights",)
    assert file.weights()["b3"].numpy().shape == (5,)


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "a/../../secret", "C:\\secret", "a\0b"]
)
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(4096))
    path = cnn(folder / "cnn.onnx", external="weights")
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="outside its folder: move them there"):
        read(path)


def test_external_data_that_is_a_link_is_refused(tmp_path: Path) -> None:
    path = cnn(tmp_path / "cnn.onnx", external="weights")
    (tmp_path / "weights").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / "weights")
    with pytest.raises(ArtifactError, match=r"is a link, and links are not followed.*cp -rL"):
        read(path)


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    path = cnn(tmp_path / "cnn.onnx", external="weights")
    (tmp_path / "weights").unlink()
    with pytest.raises(ArtifactError, match="'weights'"):
        read(path)


def test_external_data_that_ends_before_its_tensors_is_refused_with_both_sizes(
    tmp_path: Path,
) -> None:
    path = cnn(tmp_path / "cnn.onnx", external="weights")
    weights = tmp_path / "weights"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ArtifactError, match=r"weights is cut: '.*' ends at byte [\d,]+, and the"):
        read(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04not onnx", b"\x00" * 100, random.Random(0).randbytes(3000)]
)
def test_a_file_that_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="not a readable ONNX file") as refused:
        read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_cut_file_is_refused(tmp_path: Path, kept: float) -> None:
    path = cnn(tmp_path / "x.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(BmcError) as refused:
        read(path)
    assert "\n" not in str(refused.value)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.onnx")
    with pytest.raises(ArtifactError, match="not a regular file"):
        read(tmp_path / "x.onnx")


def test_a_custom_operator_is_named(tmp_path: Path) -> None:
    path = one_node(tmp_path / "x.onnx", "Warp", domain="com.acme", domains=("com.acme",))
    with pytest.raises(UsageError, match=r"custom operator com.acme:Warp"):
        read(path)


def test_inputs_of_texts_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    types = {"x": TensorProto.STRING, "y": TensorProto.STRING}
    path = save(tmp_path / "x.onnx", [node], {"x": (1,)}, {"y": (1,)}, types=types)
    with pytest.raises(
        UsageError, match="input 'x' is text, and a bundle takes numeric tensors only"
    ):
        _ = read(path).inputs


def test_outputs_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("SequenceConstruct", ["x"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]))
    onnx.save_model(model, str(tmp_path / "x.onnx"))
    with pytest.raises(UsageError, match="output 'y' is not a tensor"):
        _ = read(tmp_path / "x.onnx").outputs


def test_a_classifier_of_scikit_learn_that_returns_maps_names_the_way_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])
    maps = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    y = helper.make_value_info("y", helper.make_sequence_type_proto(maps))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    graph = helper.make_graph(nodes, "g", [x], [y])
    onnx.save_model(
        helper.make_model(graph, opset_imports=imports, ir_version=9), str(tmp_path / "x.onnx")
    )
    with pytest.raises(UsageError, match=r"output 'y' is not a tensor.*zipmap"):
        read(tmp_path / "x.onnx")


def test_a_forest_of_a_million_numbers_is_read(tmp_path: Path) -> None:
    numbers = helper.make_attribute("values", np.zeros(2_100_000, np.float32).tolist())
    node = helper.make_node("Identity", ["x"], ["y"])
    node.attribute.append(numbers)
    path = save(tmp_path / "x.onnx", [node], {"x": ("N", 2)}, {"y": ("N", 2)})
    assert read(path).opset == 17


def test_more_inputs_than_a_bundle_has_are_refused(tmp_path: Path) -> None:
    names = {f"x{number}": (1,) for number in range(17)}
    node = helper.make_node("Sum", list(names), ["y"])
    with pytest.raises(UsageError, match="has 17 inputs; a bundle takes 1 to 16"):
        _ = read(save(tmp_path / "x.onnx", [node], names, {"y": (1,)})).inputs


def test_a_folder_with_one_file_or_model_onnx_names_that_file(tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    (folder / "onnx").mkdir(parents=True)
    path = cnn(folder / "onnx" / "model.onnx")
    cnn(folder / "onnx" / "model_quantized.onnx")
    assert finding.find(str(folder)) == path
    assert finding.name_of(path) == "exported"
    assert finding.find(str(path)) == path
    path.unlink()
    cnn(folder / "onnx" / "other.onnx")
    with pytest.raises(UsageError, match="holds several ONNX files"):
        finding.find(str(folder))


def test_other_references_name_no_file(tmp_path: Path) -> None:
    assert finding.find(None) is None
    assert finding.find("bert") is None
    assert finding.find("x" * 5000) is None
    assert finding.find(str(tmp_path)) is None
    with pytest.raises(UnknownError, match=r"no ONNX file 'gone.onnx'"):
        finding.find("gone.onnx")


def test_logits_are_told_from_embeddings(tmp_path: Path) -> None:
    assert logits_of(read(cnn(tmp_path / "cnn.onnx")).graph) == {"class/logits:0"}
    weights = {"w": np.ones((2, 3), np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("LpNormalization", ["m"], ["vector"]),
        helper.make_node("Softmax", ["m"], ["over_classes"], axis=1),
        helper.make_node("Softmax", ["m"], ["over_rows"], axis=0),
    ]
    shape = ("N", 3)
    outputs = {"vector": shape, "over_classes": shape, "over_rows": shape}
    path = save(tmp_path / "x.onnx", nodes, {"x": ("N", 2)}, outputs, weights)
    assert logits_of(read(path).graph) == {"over_classes"}


@pytest.mark.parametrize(("shape", "outputs"), [((6, 2), {"y"}), ((3, 4), set())])
def test_scores_that_are_reshaped_to_other_columns_are_no_logits(
    tmp_path: Path, shape: tuple[int, int], outputs: set[str]
) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Reshape", ["scores", "shape"], ["y"]),
    ]
    weights: Arrays = {"w": np.ones((5, 2), np.float32), "shape": np.array(shape, np.int64)}
    path = save(tmp_path / "x.onnx", nodes, {"x": (6, 5)}, {"y": shape}, weights)
    assert logits_of(read(path).graph) == outputs


def test_outputs_that_tell_two_classes_apart_have_a_threshold(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
        helper.make_node("Tanh", ["logit"], ["other"]),
    ]
    weights = {"w": np.ones((2, 1), np.float32), "b": np.ones(1, np.float32)}
    outputs = dict.fromkeys(("logit", "probability", "other"), ("N", 1))
    file = read(save(tmp_path / "x.onnx", nodes, {"x": ("N", 2)}, outputs, weights))
    assert thresholds_of(file.graph) == {"logit": 0.0, "probability": 0.5}


def test_a_quantized_file_says_its_precision(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    path = save(tmp_path / "x.onnx", nodes, {"x": (1, 2)}, {"y": (1, 2)})
    assert precision_of(read(path).model) == "int8-dynamic"
    assert precision_of(read(cnn(tmp_path / "cnn.onnx")).model) == "fp32"


def test_a_single_value_a_row_is_no_logits(tmp_path: Path) -> None:
    weights = {"w": np.ones((2, 1), np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = save(tmp_path / "x.onnx", nodes, {"x": ("N", 2)}, {"y": ("N", 1)}, weights)
    assert logits_of(read(path).graph) == set()


@pytest.mark.parametrize(("opset", "outputs"), [(12, set()), (13, {"y"})])
def test_the_axis_of_a_softmax_depends_on_the_opset(
    tmp_path: Path, opset: int, outputs: set[str]
) -> None:
    shape = ("N", 3, 4)
    node = helper.make_node("Softmax", ["x"], ["y"])
    path = save(tmp_path / "x.onnx", [node], {"x": shape}, {"y": shape}, opset=opset)
    assert logits_of(read(path).graph) == outputs


def test_a_size_of_minus_one_is_a_dynamic_axis(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    file = read(save(tmp_path / "x.onnx", [node], {"x": (-1, 2)}, {"y": (-1, 2)}))
    assert [info.shape for info in (*file.inputs, *file.outputs)] == [("x_0", 2), ("y_0", 2)]


def test_weights_in_constant_nodes_decide_the_precision(tmp_path: Path) -> None:
    value = helper.make_tensor("w", TensorProto.FLOAT16, (2, 3), np.ones(6, np.float16))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=value),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    types = {"x": TensorProto.FLOAT16, "y": TensorProto.FLOAT16}
    path = save(tmp_path / "x.onnx", nodes, {"x": ("N", 2)}, {"y": ("N", 3)}, types=types)
    assert precision_of(read(path).model) == "fp16"


def test_a_linked_folder_leads_to_no_external_data(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "sub").mkdir()
    path = cnn(folder / "cnn.onnx", external="sub/weights")
    assert read(path).external
    (folder / "sub").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder / "sub")
    with pytest.raises(ArtifactError, match="a link leads outside its folder; refused"):
        read(path)


def test_a_softmax_in_parts_gives_probabilities(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Exp", ["x"], ["e"]),
        helper.make_node("ReduceSum", ["e", "axes"], ["s"]),
        helper.make_node("Div", ["e", "s"], ["y"]),
    ]
    weights = {"axes": np.array([1], np.int64)}
    file = read(save(tmp_path / "x.onnx", nodes, {"x": ("N", 4)}, {"y": ("N", 4)}, weights))
    assert set(logits_of(file.graph)) == {"y"}


def test_weights_of_two_branches_with_one_name_are_two(tmp_path: Path) -> None:
    branches = [
        helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["z"])],
            name,
            [],
            [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2])],
            [numpy_helper.from_array(np.full(2, number, np.float32), "w")],
        )
        for number, name in enumerate(("then", "else"))
    ]
    node = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    shapes, kinds = {"x": (2,), "c": ()}, {"c": TensorProto.BOOL}
    path = save(tmp_path / "x.onnx", [node], shapes, {"y": (2,)}, types=kinds)
    assert len(read(path).weights()) == 2


def with_function(path: Path) -> Path:
    """Write a file whose only layer is in a function of its own."""
    body = [helper.make_node("MatMul", ["a", "b"], ["c"], "product")]
    imports = [helper.make_opsetid("", 17)]
    function = helper.make_function("mine", "Dense", ["a", "b"], ["c"], body, imports)
    call = helper.make_node("Dense", ["x", "w"], ["y"], "dense", domain="mine")
    weights = {"w": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    save(path, [call], {"x": ("N", 4)}, {"y": ("N", 3)}, weights, domains=("mine",))
    model = onnx.load(str(path))
    model.functions.append(function)
    onnx.save_model(model, str(path))
    return path


def test_nodes_of_functions_are_nodes_of_the_graph(tmp_path: Path) -> None:
    file = read(with_function(tmp_path / "x.onnx"))
    assert [node.op_type for node in file.graph] == ["MatMul"]
    assert not file.model.functions


@pytest.mark.parametrize(
    "how", ["other version", "returns its input", "fewer outputs", "a billion", "circle"]
)
def test_functions_that_cannot_be_put_into_the_graph_stay(tmp_path: Path, how: str) -> None:
    path = with_function(tmp_path / "x.onnx")
    model = onnx.load(str(path))
    function, call = model.functions[0], model.graph.node[0]
    if how == "other version":
        model.opset_import[0].version = 18
    elif how == "returns its input":
        function.output.append("a")
        call.output.append("unused")
    elif how == "fewer outputs":
        function.node.append(helper.make_node("Neg", ["c"], ["d"]))
        function.output.append("d")
    elif how == "circle":
        function.node[0].op_type, function.node[0].domain = "Dense", "mine"
        function.opset_import.append(helper.make_opsetid("mine", 1))
    else:
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
        for number in range(30):
            inner = "Dense" if number == 0 else f"Twice{number - 1}"
            calls = [
                helper.make_node(inner, ["a", "b"], [output], domain="mine") for output in "cd"
            ]
            model.functions.append(
                helper.make_function("mine", f"Twice{number}", ["a", "b"], ["c"], calls, imports)
            )
        call.op_type = "Twice29"
    onnx.save_model(model, str(path))
    file = read(path)
    assert file.model.functions
    assert not file.had_functions
    if how == "other version":
        (tmp_path / "copy").mkdir()
        save_graph(file.model.clone(), tmp_path / "copy" / "model.onnx")
        rows = {"x": np.ones((2, 4), np.float32)}
        expected, copied = (
            Reference(each).run(rows)["y"] for each in (path, tmp_path / "copy" / "model.onnx")
        )
        np.testing.assert_array_equal(copied, expected)


def test_weights_of_a_function_are_read_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_function(tmp_path / "x.onnx")
    model = onnx.load(str(path))
    weight = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "value")
    constant = helper.make_node("Constant", [], ["k"], value=weight)
    model.functions[0].node.insert(0, constant)
    model.functions[0].node[1].input[1] = "k"
    onnx.save_model(
        model,
        str(path),
        save_as_external_data=True,
        location="w.data",
        size_threshold=0,
        convert_attribute=True,
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    weights = read(path).weights().values()
    assert 66 in [tensor.numpy().sum() for tensor in weights]


def constant_outside(path: Path) -> Path:
    """Write a file whose weight is a Constant node, with its values in another file."""
    weight = numpy_helper.from_array(np.arange(64, dtype=np.float32).reshape(8, 8), "value")
    bias = numpy_helper.from_array(np.ones(8, np.float32), "value")
    nodes = [
        helper.make_node("Constant", [], ["w"], "constant", value=weight),
        helper.make_node("Constant", [], ["b"], "small", value=bias),
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], "product"),
    ]
    save(path, nodes, {"x": ("N", 8)}, {"y": ("N", 8)})
    onnx.save_model(
        onnx.load(str(path)),
        str(path),
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
        convert_attribute=True,
    )
    return path


def test_a_constant_with_external_data_is_a_weight_and_is_saved_with_the_graph(
    tmp_path: Path,
) -> None:
    file = read(constant_outside(tmp_path / "x.onnx"))
    assert [tensor.numpy().sum() for tensor in file.weights().values()] == [2016, 8]
    (tmp_path / "copy").mkdir()
    save_graph(file.model.clone(), tmp_path / "copy" / "model.onnx")
    assert [
        each.numpy().sum() for each in read(tmp_path / "copy/model.onnx").weights().values()
    ] == [2016, 8]


def test_a_constant_whose_external_data_is_cut_is_refused(tmp_path: Path) -> None:
    path = constant_outside(tmp_path / "x.onnx")
    (tmp_path / "model.onnx.data").write_bytes(bytes(16))
    with pytest.raises(ArtifactError, match=r"is cut: .* copy it again"):
        read(path)


def test_external_data_with_another_name_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = cnn(tmp_path / "cnn.onnx", external="weights")
    os.link(tmp_path / "weights", tmp_path / "other")
    with pytest.raises(ArtifactError, match=r"has other names \(hard links\).*cp -r "):
        read(path)


def test_a_product_of_weights_of_2_bits_is_not_one_of_8(tmp_path: Path) -> None:
    node = helper.make_node(
        "MatMulNBits",
        ["x", "q", "s"],
        ["y"],
        domain="com.microsoft",
        K=16,
        N=4,
        bits=2,
        block_size=16,
    )
    weights: Arrays = {"q": np.zeros((4, 1, 4), np.uint8), "s": np.ones(4, np.float32)}
    shapes, domains = ({"x": ("N", 16)}, {"y": ("N", 4)}), ("com.microsoft",)
    path = save(tmp_path / "x.onnx", [node], *shapes, weights, domains=domains)
    assert precision_of(read(path).model) == "int4-weights"
