"""Entropy-coded weights: every weight comes back, no code is too long, and flash is what they are taken for."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyopt.board import load_board
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.plan import make_plan
from tinyopt.plan.huffman import HEAD, LONGEST, TAIL, code_lengths, coded_bytes, encode


def decode(stream: Array, size: int) -> list[int]:
    """Bit by bit, as ``huffman.h`` says."""
    data = stream.view(np.uint8)
    numbers = data[1:HEAD].view("<u2").tolist()
    values = stream[HEAD : HEAD + int(data[0]) + 1].tolist()
    bits = iter(np.unpackbits(data[HEAD + len(values) :]).tolist())
    result = []
    for _ in range(size):
        code, first, index = 0, 0, 0
        for number in numbers:
            code, first = 2 * code + next(bits), 2 * first
            if code - first < number:
                result.append(values[index + code - first])
                break
            index, first = index + number, first + number
        else:
            raise AssertionError("no such code")
    return result


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 3.0, 20.0, 200.0]), st.integers(1, 800))
def test_every_weight_comes_back(seed: int, spread: float, size: int) -> None:
    random = np.random.default_rng(seed)
    weights = np.clip(np.round(random.laplace(3, spread, size)), -128, 127).astype(np.int8)
    stream = encode(weights)
    assert decode(stream, size) == weights.tolist()
    assert len(stream) == coded_bytes(weights)


def test_codes_are_never_too_long() -> None:
    counts = np.zeros(256, np.int64)
    counts[:30] = np.cumsum(2 ** np.arange(30))  # Huffman's own lengths would be 29
    lengths = code_lengths(counts)
    assert lengths.max() <= LONGEST
    assert (2.0 ** -lengths[lengths > 0]).sum() <= 1


def test_codes_are_within_a_bit_of_the_entropy() -> None:
    weights = np.clip(np.round(np.random.default_rng(0).laplace(0, 9, 20_000)), -127, 127).astype(np.int8)
    shares = np.bincount(weights.view(np.uint8), minlength=256) / weights.size
    entropy = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum()
    bits = 8 * (coded_bytes(weights) - HEAD - TAIL - np.count_nonzero(shares)) / weights.size
    assert entropy <= bits < entropy + 0.1


def layers(spread: float | None) -> Graph:
    """Three convolutions whose weights are Laplace-distributed, or without a spread all equally frequent."""
    random = np.random.default_rng(0)
    builder = GraphBuilder("coded")
    name = builder.input("x", (1, 8, 8, 32), DType.INT8, Quantization.per_tensor(0.05, 3))
    for index in range(3):
        shape = (32, 3, 3, 32)
        values = random.laplace(0, spread, shape) if spread else random.integers(-127, 128, shape)
        weights = np.clip(np.round(values), -127, 127).astype(np.int8)
        constant = builder.constant(f"w{index}", weights, Quantization.per_tensor(0.01))
        name = builder.add(
            ops.Conv2d(padding=ops.Padding(1, 1, 1, 1)),
            [name, constant],
            name=f"layer{index}",
            quantization=Quantization.per_tensor(0.1, 0),
        )
    builder.output(name)
    return builder.build()


def test_flash_takes_coded_weights_where_they_save_more_than_the_decoder() -> None:
    board = load_board("mps2_an386")
    fast, small = (make_plan(layers(5.0), board, objective=goal) for goal in ("latency", "flash"))
    assert not any(call.kernel.family.startswith("coded") for call in fast.calls)
    assert all(call.kernel.family == "coded_conv2d_s8" for call in small.calls)
    assert small.weights_bytes < 0.7 * fast.weights_bytes
    even = make_plan(layers(None), board, objective="flash")
    assert not any(call.kernel.family.startswith("coded") for call in even.calls), "nothing to gain"
