"""Entropy-coded weights: the streams of ``firmware/kernels/common/huffman.h``."""

from __future__ import annotations

import heapq
from itertools import count

import numpy as np

from tinyopt.graph import Array

LONGEST = 12
"""Bits of the longest code."""
HEAD = 1 + 2 * LONGEST
"""Bytes before the values."""
TAIL = 4
"""Bytes behind the codes, which the decoder may read."""


def code_lengths(counts: Array) -> Array:
    """Bits of the code of each value, given how often it occurs; 0 for values that do not.

    Huffman's lengths; where one would be too long, the counts are made more alike until none is.
    """
    counts = counts.astype(np.int64)
    while True:
        lengths = _unlimited(counts)
        if lengths.max() <= LONGEST:
            return lengths
        counts = np.where(counts > 0, counts // 2 + 1, 0)


def _unlimited(counts: Array) -> Array:
    present = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.int64)
    if len(present) == 1:
        lengths[present] = 1
        return lengths
    order = count()
    heap = [(int(counts[value]), next(order), [int(value)]) for value in present]
    heapq.heapify(heap)
    while len(heap) > 1:
        one, _, left = heapq.heappop(heap)
        two, _, right = heapq.heappop(heap)
        lengths[left + right] += 1
        heapq.heappush(heap, (one + two, next(order), left + right))
    return lengths


def _counts(data: Array) -> Array:
    """Of each byte."""
    return np.bincount(data.reshape(-1).view(np.uint8), minlength=256)


def coded_bytes(data: Array) -> int:
    """Bytes of the stream of int8 data."""
    counts = _counts(data)
    bits = int((counts * code_lengths(counts)).sum())
    return HEAD + int(np.count_nonzero(counts)) + -(-bits // 8) + TAIL


def encode(data: Array) -> Array:
    """int8 data → the stream, int8."""
    values = data.reshape(-1).view(np.uint8)
    lengths = code_lengths(_counts(data))
    order = np.lexsort((np.arange(256), lengths))
    order = order[lengths[order] > 0]
    codes = np.zeros(256, np.int64)
    code, before = 0, 0
    for value in order:
        code <<= int(lengths[value]) - before
        before = int(lengths[value])
        codes[value] = code
        code += 1
    starts = np.cumsum(lengths[values]) - lengths[values]
    bits = np.zeros(int(lengths[values].sum()), np.uint8)
    for place in range(LONGEST):  # the highest bit of each code first
        used = lengths[values] > place
        mine = values[used]
        bits[starts[used] + place] = codes[mine] >> (lengths[mine] - 1 - place) & 1
    numbers = np.bincount(lengths[order], minlength=LONGEST + 1)[1:].astype("<u2").view(np.uint8)
    head = np.concatenate([[len(order) - 1], numbers, order]).astype(np.uint8)
    result: Array = np.concatenate([head, np.packbits(bits), np.zeros(TAIL, np.uint8)]).view(np.int8)
    return result
