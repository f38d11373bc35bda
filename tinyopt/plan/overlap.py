"""How far an output may reach into the memory of the input that it is computed from."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import Tensor, ops


def convolution_lag(x: Tensor, y: Tensor, attributes: ops.Conv2d, block: int) -> int:
    """Bytes by which the output of a convolution must start before its input, so that no input byte is overwritten
    that is still to be read.

    The kernel works on output pixels in order, ``block`` at a time and what is left at the end one at a time, and reads
    all inputs of a block before it writes its outputs. int8 tensors of batch 1, [1,H,W,C].
    """
    _, height, width, channels = y.shape
    p, s = attributes.padding, attributes.stride
    rows = np.maximum(np.arange(height) * s[0] - p.top, 0)
    columns = np.maximum(np.arange(width) * s[1] - p.left, 0)
    first_read = ((rows[:, None] * x.shape[2] + columns) * x.shape[3]).reshape(-1)
    still_needed = np.minimum.accumulate(first_read[::-1])[::-1]
    starts = np.asarray(_starts(height * width, block)[1:], np.int64)
    if len(starts) == 0:
        return 0
    return int(max(0, (starts * channels - still_needed[starts]).max()))


def window_lag(x: Tensor, y: Tensor, attributes: ops.Conv2d, rows: int, block: int) -> int:
    """As ``convolution_lag``, for a kernel that keeps a window of ``rows`` input rows, from the top row of taps of the
    output row that a block begins in: what was copied there may be overwritten."""
    _, height, width, channels = y.shape
    spill = 0 if width % block == 0 else block - 1
    lag = 0
    for row in range(height):
        unread = max(0, row * attributes.stride[0] - attributes.padding.top + rows)
        if unread < x.shape[1]:
            written = min((row + 1) * width + spill, height * width) * channels
            lag = max(lag, written - unread * x.shape[2] * x.shape[3])
    return lag


def _starts(pixels: int, block: int) -> list[int]:
    """The pixels at which blocks start."""
    whole = pixels // block * block
    return [*range(0, whole, block), *range(whole, pixels)]
