"""
Writes the official node tests of ONNX that have none but the operators named in argv[2] (with commas) into the folder
argv[1]: cases.json, and a model for each way to give a case's operands. 'first': the first is the network's input, the
rest are tensors of the file, as in files of networks; 'all': all floating-point ones are inputs; 'known': none is, and
the result is added to an input of one zero, because a network computes something.
"""

import base64
import json
import os
import sys
import warnings

import numpy as np

# ONNX 1.12 has names that numpy 1.24 removed.
for name, kind in {"bool": bool, "int": int, "float": float, "object": object, "str": str}.items():
    if name not in np.__dict__:
        setattr(np, name, kind)
warnings.filterwarnings("ignore")

import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.backend.test.case.node import collect_testcases  # noqa: E402

folder, claimed = sys.argv[1], set(sys.argv[2].split(","))
OLDEST = 7


def kind(value):
    return str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__


def array(value):
    return np.asarray(value) if isinstance(value, np.generic) else value


def packed(value):
    if not isinstance(value, np.ndarray) or value.dtype != np.float32:
        return {"dtype": kind(value), "shape": list(np.shape(value)) if isinstance(value, np.ndarray) else None}
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"dtype": "float32", "shape": list(value.shape), "data": data}


def opset_of(case):
    """The opset; 7 for an operator that is older and still the same there."""
    version = case.model.opset_import[0].version
    if version >= OLDEST:
        return version
    same = all(onnx.defs.get_schema(n.op_type, OLDEST).since_version == version for n in case.model.graph.node)
    return OLDEST if same else version


def attributes(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute if a.type in (1, 2, 3, 6, 7)}


def inputs_of(way, arrays):
    """Which operands are the network's inputs."""
    floats = [i for i, value in enumerate(arrays) if value.dtype == np.float32 and value.ndim > 0]
    if way == "known":
        return []
    if way == "first":
        return [0] if 0 in floats else None
    # The first dimension of every input is the batch.
    alike = len({arrays[i].shape[0] for i in floats}) == 1 and len({arrays[i].ndim for i in floats}) == 1
    return floats if len(floats) > 1 and alike else None


def model(case, way, given, result):
    graph, nodes = case.model.graph, list(case.model.graph.node)
    output, wanted = graph.output[0].name, result
    infos = [helper.make_tensor_value_info(graph.input[i].name, TensorProto.FLOAT, case.arrays[i].shape) for i in given]
    feeds = {graph.input[i].name: packed(case.arrays[i]) for i in given}
    tensors = [numpy_helper.from_array(value, graph.input[i].name)
               for i, value in enumerate(case.arrays) if i not in given]
    if way == "known":
        if result.dtype != np.float32:
            nodes.append(helper.make_node("Cast", [output], ["cast"], to=TensorProto.FLOAT))
            output, wanted = "cast", result.astype(np.float32)
        nodes.append(helper.make_node("Add", ["zero", output], ["result"]))
        infos.append(helper.make_tensor_value_info("zero", TensorProto.FLOAT, [1]))
        feeds["zero"] = packed(np.zeros(1, np.float32))
        output, wanted = "result", np.zeros(1, np.float32) + wanted
    elif nodes[-1].op_type == "Softmax":
        # A softmax at the end is left out by design; its negative is not.
        nodes.append(helper.make_node("Neg", [output], ["negative"]))
        output, wanted = "negative", -result
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    made = helper.make_model(helper.make_graph(nodes, case.name, infos, outputs, tensors),
                             opset_imports=[helper.make_operatorsetid("", opset_of(case))])
    made.ir_version = 8
    return made, feeds, wanted


written = []
for case in collect_testcases(None):
    graph = case.model.graph
    if not {node.op_type for node in graph.node} <= claimed or any(node.domain for node in graph.node):
        continue
    inputs, outputs = case.data_sets[0]
    case.arrays = [array(value) for value in inputs]
    result = array(outputs[0])
    facts = {
        "name": case.name, "opset": opset_of(case), "ops": [node.op_type for node in graph.node],
        "attributes": attributes(graph.node[0]), "rtol": case.rtol, "atol": case.atol,
        "inputs": [packed(value) for value in case.arrays],
        "output": packed(result), "outputs": len(outputs), "ways": [],
    }
    written.append(facts)
    tensors = all(isinstance(value, np.ndarray) and value.dtype != object for value in [*case.arrays, result])
    for way in ("first", "all", "known") if tensors else ():
        given = inputs_of(way, case.arrays)
        if given is None:
            continue
        made, feeds, wanted = model(case, way, given, result)
        file = f"{len(written)}.{case.name}.{way}.onnx"
        with open(os.path.join(folder, file), "wb") as out:
            out.write(made.SerializeToString())
        facts["ways"].append({"way": way, "file": file, "feeds": feeds, "wanted": packed(wanted)})

with open(os.path.join(folder, "cases.json"), "w") as out:
    json.dump(written, out, default=lambda value: value.decode() if isinstance(value, bytes) else list(value))
