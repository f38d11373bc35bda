#include "sparse_mve.h"

enum { HEAD = 13, GROUP = 84 }; /* words; bytes */

#if TINYOPT_HAS_MVE

void tinyopt_sparse_mve_outputs(const tinyopt_sparse_limits *limits, const int8_t *x, const int8_t *stream,
                                int32_t outputs, int8_t *output) {
  int32x4_t low = vdupq_n_s32(limits->low);
  int32x4_t high = vdupq_n_s32(limits->high);
  for (; outputs > 0; outputs -= 4, output += 4) {
    const int32_t *head = (const int32_t *)(const void *)stream;
    const int8_t *first = x;
    int32_t a = 0;
    int32_t b = 0;
    int32_t c = 0;
    int32_t d = 0;
    stream += 4 * HEAD;
    for (int32_t groups = head[12]; groups > 0; --groups, stream += GROUP) {
      first += *(const int32_t *)(const void *)stream;
      int8x16_t taps = vldrbq_gather_offset_s8(first, vldrbq_u8((const uint8_t *)stream + 4));
      a = vmladavaq_s8(a, taps, vldrbq_s8(stream + 20));
      b = vmladavaq_s8(b, taps, vldrbq_s8(stream + 36));
      c = vmladavaq_s8(c, taps, vldrbq_s8(stream + 52));
      d = vmladavaq_s8(d, taps, vldrbq_s8(stream + 68));
    }
    int32x4_t sums;
    __asm__("vmov %q[sums][2], %q[sums][0], %[a], %[c]\n"
            "vmov %q[sums][3], %q[sums][1], %[b], %[d]\n"
            : [sums] "=&w"(sums)
            : [a] "r"(a), [b] "r"(b), [c] "r"(c), [d] "r"(d));
    sums = tinyopt_mve_requantize(vaddq_s32(sums, vld1q_s32(head)), vld1q_s32(head + 4), vld1q_s32(head + 8));
    sums = tinyopt_mve_output(sums, limits->zero_point, low, high);
    vstrbq_p_s32(output, sums, vctp32q((uint32_t)outputs));
  }
}

#else /* the same computation in C, for tests on other machines */

/* Four sums of a row, which begin as its biases; returns where the next row begins. */
static const int8_t *add_groups(int32_t *sums, int32_t groups, const int8_t *x, const int8_t *stream) {
  for (int32_t group = 0; group < groups; ++group, stream += GROUP) {
    int32_t further;
    memcpy(&further, stream, sizeof further);
    x += further;
    for (int32_t i = 0; i < 16; ++i) {
      int32_t activation = x[(uint8_t)stream[4 + i]];
      for (int32_t lane = 0; lane < 4; ++lane) {
        sums[lane] = tinyopt_mac(sums[lane], activation, stream[20 + 16 * lane + i]);
      }
    }
  }
  return stream;
}

void tinyopt_sparse_mve_outputs(const tinyopt_sparse_limits *limits, const int8_t *x, const int8_t *stream,
                                int32_t outputs, int8_t *output) {
  for (; outputs > 0; outputs -= 4, output += 4) {
    int32_t head[HEAD];
    memcpy(head, stream, sizeof head);
    stream = add_groups(head, head[12], x, stream + sizeof head);
    for (int32_t lane = 0; lane < tinyopt_min(4, outputs); ++lane) {
      output[lane] = tinyopt_requantize_s8(head[lane], head[4 + lane], head[8 + lane], limits->zero_point, limits->low,
                                           limits->high);
    }
  }
}

#endif
