"""Operator kinds: one frozen attribute dataclass each.

An operator of the graph is its attributes, the names of its input tensors and the names of its output tensors. The
class documents the inputs in order, with shapes. N is the batch, H and W the image, C channels. Optional inputs come
last and are simply absent. ``activation`` is a clamp that is applied to the real-valued result before it is stored.
"""

from tinyopt.graph.ops.base import NO_PADDING, NONE, RELU, RELU6, RELU_N1_TO_1, Attributes, Clamp, Padding, Shape
from tinyopt.graph.ops.dynamic import DynamicConv2d, DynamicDepthwiseConv2d, DynamicFullyConnected, DynamicRange
from tinyopt.graph.ops.elementwise import BatchNorm, Binary, BinaryKind, Clip, LayerNorm, Prelu, Unary, UnaryKind
from tinyopt.graph.ops.layers import (
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    Gru,
    Lstm,
    LstmQuantization,
    MatMul,
    TransposeConv2d,
)
from tinyopt.graph.ops.movement import (
    BroadcastTo,
    Cast,
    Concat,
    Dequantize,
    Gather,
    Pad,
    PadMode,
    Quantize,
    Reshape,
    Resize2d,
    ResizeMethod,
    Slice,
    Split,
    Transpose,
)
from tinyopt.graph.ops.pooling import ArgMax, AveragePool2d, LogSoftmax, MaxPool2d, Reduce, ReduceKind, Softmax
from tinyopt.graph.ops.signs import OrPool2d, PackSigns, XnorConv2d

__all__ = [
    "NONE",
    "NO_PADDING",
    "RELU",
    "RELU6",
    "RELU_N1_TO_1",
    "ArgMax",
    "Attributes",
    "AveragePool2d",
    "BatchNorm",
    "Binary",
    "BinaryKind",
    "BroadcastTo",
    "Cast",
    "Clamp",
    "Clip",
    "Concat",
    "Conv2d",
    "DepthwiseConv2d",
    "Dequantize",
    "DynamicConv2d",
    "DynamicDepthwiseConv2d",
    "DynamicFullyConnected",
    "DynamicRange",
    "FullyConnected",
    "Gather",
    "Gru",
    "LayerNorm",
    "LogSoftmax",
    "Lstm",
    "LstmQuantization",
    "MatMul",
    "MaxPool2d",
    "OrPool2d",
    "PackSigns",
    "Pad",
    "PadMode",
    "Padding",
    "Prelu",
    "Quantize",
    "Reduce",
    "ReduceKind",
    "Reshape",
    "Resize2d",
    "ResizeMethod",
    "Shape",
    "Slice",
    "Softmax",
    "Split",
    "Transpose",
    "TransposeConv2d",
    "Unary",
    "UnaryKind",
    "XnorConv2d",
]
