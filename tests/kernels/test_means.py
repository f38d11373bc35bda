"""Means by a reciprocal equal the division they stand for, on every sum of every window they are used for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "firmware" / "kernels"

PROGRAM = """
#include "average_pool2d_s8.h"
#include "dsp.h"

/* By the definition. */
static int32_t divided(int32_t sum, int32_t count) {
  int32_t magnitude = ((sum < 0 ? -sum : sum) + count / 2) / count;
  return sum < 0 ? -magnitude : magnitude;
}

static int is_exact(int32_t sum, int32_t count) {
  int32_t mean = divided(sum, count);
  int32_t reciprocal = tinyopt_short_reciprocal(count);
  int bits = TINYOPT_SHORT_RECIPROCAL_BITS - 16;
  int exact = tinyopt_smlawb(reciprocal, (uint32_t)sum & 0xFFFFu, 1 << (bits - 1)) >> bits == mean;
  /* As Helium multiplies: twice the product, and its upper half. */
  int32_t high = (int32_t)(2 * (int64_t)(sum * (1 << 14)) * reciprocal >> 32);
  exact &= (high + (1 << 12)) >> 13 == mean;
  if (count <= TINYOPT_MOST_NARROW) {
    int shift = 15;
    while (count >> (shift - 15) > 1) {
      ++shift;
    }
    int32_t narrow = (1 << shift) / count + 1;
    exact &= (sum * narrow + (1 << (shift - 1))) >> shift == mean;
  }
  return exact;
}

int main(void) {
  for (int32_t count = 1; count <= 255; ++count) {
    for (int32_t sum = -128 * count; sum <= 127 * count; ++sum) {
      if (!is_exact(sum, count)) {
        return 1;
      }
    }
    tinyopt_long_reciprocal reciprocal = tinyopt_long_reciprocal_of(count);
    for (int32_t sum = -255 * count; sum <= 255 * count; ++sum) {
      if (tinyopt_fine_mean(sum, &reciprocal) != divided(sum * 256, count)) {
        return 2;
      }
    }
  }
  return 0;
}
"""


def test_every_mean_is_exact(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler, which is not installed")
    source, program = tmp_path / "means.c", tmp_path / "means"
    source.write_text(PROGRAM)
    includes = [f"-I{KERNELS / name}" for name in ("common", "average_pool2d_s8")]
    subprocess.run([compiler, "-std=c99", "-O2", *includes, str(source), "-o", str(program)], check=True)
    assert subprocess.run([program], check=False).returncode == 0
