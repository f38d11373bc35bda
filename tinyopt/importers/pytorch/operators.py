"""ATen layers, normalisation, pooling and reductions, each written with the layers of ``tinyopt.importers.layers``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinyopt.graph import DType
from tinyopt.graph.ops import BinaryKind, ReduceKind, UnaryKind
from tinyopt.importers.layers import Layers
from tinyopt.importers.pytorch.elementwise import binary, scaled
from tinyopt.importers.pytorch.registry import OPERATORS, Arguments, Lowering, Result, operator
from tinyopt.importers.values import CannotLower, Value, constant

# ---- convolutions and matrix products -------------------------------------------------------------------------

__all__ = ["OPERATORS"]


def _same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
    return [(total // 2, total - total // 2) for total in totals]


@operator("conv1d", "conv2d", "convolution")
def _conv(net: Layers, a: Arguments) -> Value:
    x, w = a.x, a.value("weight")
    rank = w.rank - 2
    unbatched = x.rank == rank + 1
    if unbatched:
        x = net.reshape(x, (1, *x.shape))
    stride, dilation = a.ints("stride", rank), a.ints("dilation", rank)
    if isinstance(a["padding"], str):
        valid = a["padding"] == "valid"
        padding = [(0, 0)] * rank if valid else _same_padding(w.shape[2:], dilation)
    else:
        padding = [(p, p) for p in a.ints("padding", rank)]
    if a.get("transposed", False):
        return _transposed(net, a, x, w, stride, dilation)
    y = net.conv(x, w, a["bias"], stride=stride, padding=padding, dilation=dilation, groups=a["groups"])
    return net.reshape(y, y.shape[1:]) if unbatched else y


@operator("conv_transpose1d", "conv_transpose2d")
def _conv_transpose(net: Layers, a: Arguments) -> Value:
    w = a.value("weight")
    return _transposed(net, a, a.x, w, a.ints("stride", w.rank - 2), a.ints("dilation", w.rank - 2))


def _transposed(net: Layers, a: Arguments, x: Value, w: Value, stride: list[int], dilation: list[int]) -> Value:
    rank = w.rank - 2
    extra = a.ints("output_padding", rank)
    padding = [(p, p - e) for p, e in zip(a.ints("padding", rank), extra)]
    return net.conv_transpose(x, w, a["bias"], stride=stride, padding=padding, dilation=dilation, groups=a["groups"])


@operator("linear")
def _linear(net: Layers, a: Arguments) -> Value:
    return net.linear(a.x, a.value("weight"), a["bias"])


@operator("matmul", "mm", "bmm")
def _matmul(net: Layers, a: Arguments) -> Value:
    left, right = a
    return net.matmul(left, right)


@operator("addmm", "baddbmm")
def _addmm(net: Layers, a: Arguments) -> Value:
    bias, left, right, beta, alpha = a
    plain = left.rank == 2 and right.is_constant and (beta, alpha) == (1, 1)
    if plain and bias.is_constant and bias.shape == (right.shape[1],):
        return net.linear(left, net.transpose(right, (1, 0)), bias)
    product = scaled(net, net.matmul(left, right), alpha)
    return net.binary(BinaryKind.ADD, product, scaled(net, bias, beta)) if beta else product


@operator("scaled_dot_product_attention")
def _attention(net: Layers, a: Arguments) -> Value:
    """softmax(q kᵀ * scale + mask) v (Vaswani et al. 2017)."""
    q, k, v = (a.value(n) for n in ("query", "key", "value"))
    if a.get("enable_gqa", False):
        raise CannotLower("grouped-query attention is not supported")
    scale = a.get("scale", 1 / math.sqrt(q.shape[-1]))
    swap = (*range(k.rank - 2), k.rank - 1, k.rank - 2)
    scores = scaled(net, net.matmul(q, net.transpose(k, swap)), scale)
    mask = a.get("attn_mask")
    if a.get("is_causal", False):
        shape = (q.shape[-2], k.shape[-2])
        mask = constant(np.where(np.tril(np.ones(shape)) > 0, 0, -1e9).astype(np.float32))
    elif mask is not None and net.dtype(mask) is DType.BOOL:
        mask = constant(np.where(mask.real, 0, -1e9).astype(np.float32))
    elif mask is not None and mask.is_constant:
        mask = constant(np.maximum(mask.real, np.float32(-1e9)))
    if mask is not None:
        scores = net.binary(BinaryKind.ADD, scores, mask)
    return net.matmul(net.softmax(scores, -1), v)


# ---- normalisation --------------------------------------------------------------------------------------------


@operator("_native_batch_norm_legit_no_training", "batch_norm", "native_batch_norm")
def _batch_norm(net: Layers, a: Arguments) -> Result:
    if a.get("training", False) or a.get("running_mean") is None:
        raise CannotLower("normalises with the statistics of the batch (no running statistics)")
    y = net.batch_norm(a.x, a["weight"], a["bias"], a.value("running_mean"), a.value("running_var"), float(a["eps"]))
    return [y, None, None]


@operator("layer_norm", "native_layer_norm")
def _layer_norm(net: Layers, a: Arguments) -> Result:
    y = net.layer_norm(a.x, len(a["normalized_shape"]), a["weight"], a["bias"], float(a["eps"]))
    return [y, None, None]


@operator("group_norm")
def _group_norm(net: Layers, a: Arguments) -> Value:
    return net.group_norm(a.x, a["num_groups"], a["weight"], a["bias"], float(a["eps"]))


@operator("instance_norm")
def _instance_norm(net: Layers, a: Arguments) -> Value:
    if not a["use_input_stats"]:
        y = net.batch_norm(
            a.x, a["weight"], a["bias"], a.value("running_mean"), a.value("running_var"), float(a["eps"])
        )
        return y
    return net.group_norm(a.x, a.x.shape[1], a["weight"], a["bias"], float(a["eps"]))


for _name in ("softmax", "_softmax"):
    OPERATORS[_name] = lambda net, a: net.softmax(a.x, a["dim"])
    OPERATORS[_name.replace("softmax", "log_softmax")] = lambda net, a: net.softmax(a.x, a["dim"], log=True)


# ---- pooling and reductions -----------------------------------------------------------------------------------


def _pooling(rank: int, maximum: bool) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Result:
        x = a.x
        unbatched = x.rank == rank + 1
        if unbatched:
            x = net.reshape(x, (1, *x.shape))
        if a.get("divisor_override"):
            raise CannotLower("an average with divisor_override")
        kernel = a.ints("kernel_size", rank)
        y = net.pool(
            x,
            maximum=maximum,
            kernel=kernel,
            stride=a.ints("stride", rank) or kernel,
            padding=[(p, p) for p in a.ints("padding", rank)],
            dilation=a.ints("dilation", rank) if maximum else (1,),
            ceil_mode=bool(a["ceil_mode"]),
            count_padding=bool(a.get("count_include_pad", False)),
        )
        y = net.reshape(y, y.shape[1:]) if unbatched else y
        return [y, None] if maximum else y

    return lower


for _rank in (1, 2):
    OPERATORS[f"max_pool{_rank}d"] = OPERATORS[f"max_pool{_rank}d_with_indices"] = _pooling(_rank, True)
    OPERATORS[f"avg_pool{_rank}d"] = _pooling(_rank, False)


def _adaptive(rank: int, maximum: bool) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Result:
        sizes = [n if n is not None else d for n, d in zip(a["output_size"], a.x.shape[-rank:])]
        y = net.adaptive_pool(a.x, sizes, maximum=maximum)
        return [y, None] if maximum else y

    return lower


for _rank in (1, 2):
    OPERATORS[f"adaptive_avg_pool{_rank}d"] = OPERATORS[f"_adaptive_avg_pool{_rank}d"] = _adaptive(_rank, False)
    OPERATORS[f"adaptive_max_pool{_rank}d"] = _adaptive(_rank, True)


def _reduction(op: ReduceKind) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Value:
        dims = a.get("dim", [])
        dims = [dims] if isinstance(dims, int) else list(dims)
        return net.reduce(op, a.x, dims or range(a.x.rank), bool(a.get("keepdim", False)))

    return lower


OPERATORS.update(
    mean=_reduction(ReduceKind.MEAN),
    sum=_reduction(ReduceKind.SUM),
    amax=_reduction(ReduceKind.MAX),
    amin=_reduction(ReduceKind.MIN),
)


def _extremes(op: ReduceKind, pair: BinaryKind) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Result:
        if isinstance(a.get("other"), Value):
            return binary(net, pair, a.x, a["other"])
        if a.get("dim") is None:
            return net.reduce(op, a.x, range(a.x.rank), False)
        values = net.reduce(op, a.x, [a["dim"]], bool(a["keepdim"]))
        source = a.x if op is ReduceKind.MAX else net.unary(UnaryKind.NEG, a.x)
        return [values, net.argmax(source, a["dim"], bool(a["keepdim"]))]

    return lower


OPERATORS.update(max=_extremes(ReduceKind.MAX, BinaryKind.MAXIMUM), min=_extremes(ReduceKind.MIN, BinaryKind.MINIMUM))


def _spread(root: bool) -> Lowering:
    """Variance or standard deviation."""

    def lower(net: Layers, a: Arguments) -> Value:
        dims = a.get("dim")
        axes = list(range(a.x.rank)) if not dims else [dims] if isinstance(dims, int) else list(dims)
        correction = a.get("correction", 1 if a.get("unbiased", True) else 0)
        count = math.prod(a.x.shape[axis] for axis in axes)
        if count <= correction:
            raise CannotLower(f"the variance of {count} element(s)")
        centred = net.binary(BinaryKind.SUB, a.x, net.reduce(ReduceKind.MEAN, a.x, axes, True))
        total = net.reduce(ReduceKind.SUM, net.unary(UnaryKind.SQUARE, centred), axes, bool(a.get("keepdim", False)))
        variance = scaled(net, total, 1 / (count - correction))
        return net.unary(UnaryKind.SQRT, variance) if root else variance

    return lower


OPERATORS.update(var=_spread(False), std=_spread(True))


@operator("linalg_vector_norm")
def _norm(net: Layers, a: Arguments) -> Value:
    axes = a.get("dim") or range(a.x.rank)
    keep = bool(a["keepdim"])
    if a["ord"] == 2:
        total = net.reduce(ReduceKind.SUM, net.unary(UnaryKind.SQUARE, a.x), axes, keep)
        return net.unary(UnaryKind.SQRT, total)
    if a["ord"] == 1:
        return net.reduce(ReduceKind.SUM, net.unary(UnaryKind.ABS, a.x), axes, keep)
    raise CannotLower(f"a norm of order {a['ord']}")


@operator("argmax")
def _argmax(net: Layers, a: Arguments) -> Value:
    if a.get("dim") is None:
        flat = net.argmax(net.reshape(a.x, (a.x.size,)), 0, False)
        return net.reshape(flat, (1,) * a.x.rank) if a["keepdim"] else flat
    return net.argmax(a.x, a["dim"], bool(a["keepdim"]))


# ---- recurrent ------------------------------------------------------------------------------------------------


def _recurrent_layers(gates: int) -> Lowering:
    """``gates`` 4: LSTM, 3: GRU; stacked and bidirectional."""

    def lower(net: Layers, a: Arguments) -> Result:
        first = a.get("batch_first", False)
        x = a.x if first else net.transpose(a.x, (1, 0, 2))
        directions = 2 if a["bidirectional"] else 1
        hidden = a["hx"] if gates == 4 else [a["hx"]]
        count = 4 if a["has_biases"] else 2
        parameters = list(a["params"])
        if len(parameters) != count * directions * a["num_layers"]:
            raise CannotLower("projected LSTMs (proj_size) are not supported")
        final: list[list[Value]] = [[] for _ in hidden]
        for layer in range(a["num_layers"]):
            outputs = []
            for direction in range(directions):
                index = layer * directions + direction
                w, r, *biases = (p.real for p in parameters[index * count : (index + 1) * count])
                b, rb = biases or (np.zeros(len(w), np.float32),) * 2
                states = [net.reshape(net.cut(h, 0, index, index + 1), h.shape[1:]) for h in hidden]
                if gates == 4:
                    y, *last = net.lstm(x, w, r, b + rb, states[0], states[1], reverse=direction == 1)
                else:
                    y, *last = net.gru(x, w, r, b, rb, states[0], reverse=direction == 1, linear_before_reset=True)
                outputs.append(y)
                for store, value in zip(final, last):
                    store.append(net.reshape(value, (1, *value.shape)))
            x = net.concat(outputs, 2)
        y = x if first else net.transpose(x, (1, 0, 2))
        return [y, *(net.concat(values, 0) for values in final)]

    return lower


OPERATORS.update(lstm=_recurrent_layers(4), gru=_recurrent_layers(3))
