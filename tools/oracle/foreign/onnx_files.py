# SPDX-License-Identifier: MIT
"""The small VGGs as ONNX: as PyTorch exports them, and in the way of the ONNX model zoo."""
import numpy
from onnx import TensorProto, checker, helper, numpy_helper

import small
from wire import text


def with_float_data(array, name):
    """A TensorProto with its numbers in float_data. They are given to it as the wire has
    them: a list of 103 million floats would take gigabytes."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
    blob = numpy.ascontiguousarray(array, "<f4").tobytes()
    tensor.MergeFromString(text(4, blob))
    return tensor


def layers(tensors):
    """Our names of the layers, a "pool" behind each block's last convolution."""
    names = [name[:-7] for name in tensors if name.endswith(".weight")]
    for name, following in zip(names, names[1:] + [None]):
        yield name
        if name[:4] == "conv" and following[:5] != name[:5]:
            yield "pool"


def save(path, nodes, initializers, inputs, outputs, producer, opset):
    graph = helper.make_graph(nodes, "vgg", inputs, outputs, initializers)
    model = helper.make_model(graph, producer_name=producer,
                              opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 3 if opset < 9 else 7
    blob = model.SerializeToString()
    checker.check_model(blob)
    with open(path, "wb") as f:
        f.write(blob)


def picture(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 224, 224))


def classes(name, tensors):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, len(tensors["fc8.bias"])))


def torch_way(path, tensors):
    """Gemm with transB=1, raw_data, torchvision's names."""
    nodes, initializers, value, number = [], [], "input.1", 0

    def node(op, inputs, **attributes):
        nonlocal value
        output = f"/{op}_{len(nodes)}_output_0"
        nodes.append(helper.make_node(op, [value] + inputs, [output], f"/{op}_{len(nodes)}",
                                      **attributes))
        value = output

    for name in layers(tensors):
        if name == "pool":
            node("MaxPool", [], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0],
                 ceil_mode=0)
            number += 1
            continue
        here = f"features.{number}" if name[:4] == "conv" else f"classifier.{3 * int(name[2]) - 18}"
        both = [f"{here}.{what}" for what in ("weight", "bias")]
        for ours, theirs in zip(("weight", "bias"), both):
            initializers.append(numpy_helper.from_array(tensors[f"{name}.{ours}"], theirs))
        if name[:4] == "conv":
            node("Conv", both, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1],
                 dilations=[1, 1], group=1)
            number += 2
        else:
            if name == "fc6":
                node("AveragePool", [], kernel_shape=[1, 1], strides=[1, 1])
                node("Flatten", [], axis=1)
            node("Gemm", both, alpha=1.0, beta=1.0, transB=1)
        if name != "fc8":
            node("Relu", [])
    save(path, nodes, initializers, [picture("input.1")], [classes(value, tensors)], "pytorch", 13)


def zoo_way(path, tensors):
    """MXNet's names, float_data, the weights among the graph's inputs; fully connected layers
    inputs x outputs: the first a Gemm, the others MatMul and Add."""
    nodes, initializers, value, convs = [], [], "data", 0

    def node(op, inputs, name, **attributes):
        nonlocal value
        nodes.append(helper.make_node(op, [value] + inputs, [name + "_fwd"], name + "_fwd",
                                      **attributes))
        value = name + "_fwd"

    def weights(ours, theirs):
        transpose = (lambda a: a.T) if theirs.startswith("vgg0_dense") else lambda a: a
        both = [theirs + "_weight", theirs + "_bias"]
        initializers.append(with_float_data(transpose(tensors[ours + ".weight"]), both[0]))
        initializers.append(with_float_data(tensors[ours + ".bias"], both[1]))
        return both

    for name in layers(tensors):
        if name == "pool":
            node("MaxPool", [], f"vgg0_pool{len(nodes)}", kernel_shape=[2, 2], strides=[2, 2])
        elif name[:4] == "conv":
            theirs = f"vgg0_conv{convs}"
            node("Conv", weights(name, theirs), theirs, kernel_shape=[3, 3], strides=[1, 1],
                 pads=[1, 1, 1, 1], dilations=[1, 1], group=1)
            node("Relu", [], f"vgg0_relu{convs}")
            convs += 1
        else:
            theirs = f"vgg0_dense{int(name[2]) - 6}"
            node("Flatten", [], "flatten_" + theirs)
            if name == "fc6":
                node("Gemm", weights(name, theirs), theirs, transB=0)
            else:
                weight, bias = weights(name, theirs)
                node("MatMul", [weight], theirs + "_product")
                node("Add", [bias], theirs)
            if name != "fc8":
                node("Relu", [], theirs + "_relu")
                node("Dropout", [], theirs + "_dropout", ratio=0.5)
    inputs = [picture("data")] + [
        helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.dims) for t in initializers]
    save(path, nodes, initializers, inputs, [classes(value, tensors)], "", 8)


WRITERS = {
    "vgg19.onnx": ("vgg19", torch_way, "torchvision"),
    "vgg19-zoo.onnx": ("vgg19", zoo_way, "torchvision"),
    "vgg16.onnx": ("vgg16", torch_way),
}

if __name__ == "__main__":
    small.main(WRITERS)
