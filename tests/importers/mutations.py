"""Ways to damage a model file, for the hostile-input tests and the fuzzer."""

from __future__ import annotations

import random
import struct

INTERESTING = (0, 1, -1, 2, 127, -128, 255, 32767, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 4, 8, 16, 1 << 20)

_WEIGHTS = (6, 6, 6, 2, 8, 1, 1, 1, 2)
"""Changes that move everything behind them are rare: most importers refuse such files at once."""


def mutate(data: bytes, chance: random.Random) -> bytes:
    """A damaged copy: one to eight changes of bits, bytes, words, whole ranges, or of the length."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        if not result:
            return bytes(result)
        _change(result, chance)
    return bytes(result)


def _change(data: bytearray, chance: random.Random) -> None:
    (kind,), at = chance.choices(range(9), _WEIGHTS), chance.randrange(len(data))
    if kind == 0:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data[at] = chance.randrange(256)
    elif kind in (2, 3) and len(data) >= 8:
        at = at // 4 * 4 if kind == 2 else at
        word = chance.choice(INTERESTING) & 0xFFFFFFFF
        data[at : at + 4] = struct.pack("<I", word)[: len(data) - at]
    elif kind == 4 and len(data) >= 8:  # a number that is nearly what it was: offsets and lengths
        at = min(at // 4 * 4, len(data) - 4)
        word = struct.unpack_from("<I", data, at)[0] + chance.randrange(-16, 17)
        struct.pack_into("<I", data, at, word & 0xFFFFFFFF)
    elif kind == 5:
        del data[at:]
    elif kind == 6:
        end = min(len(data), at + chance.randrange(1, 64))
        del data[at:end]
    elif kind == 7:
        end = min(len(data), at + chance.randrange(1, 64))
        there = chance.randrange(len(data))
        data[there:there] = data[at:end]
    else:
        end = min(len(data), at + chance.randrange(1, 32))
        there = chance.randrange(len(data))
        data[there : there + end - at] = data[at:end]
