/* Convolution of blocks of four outputs, with the Arm DSP extension: a row of blocks is walked twice, for two outputs
 * each, whose weights are the halves of a pair. */
#include "four_pixels.h"

/* Outputs 0 and 2 of a row of blocks, or 1 and 3, in four pixels. Returns where the next row begins. */
static TINYOPT_ALWAYS_INLINE const int8_t *add_blocks(const int8_t *column, const int8_t *stream, bool odd,
                                                      tinyopt_sparse_sums_4 *first, tinyopt_sparse_sums_4 *second) {
  tinyopt_sparse_sums_4 a = *first;
  tinyopt_sparse_sums_4 b = *second;
  uint32_t head;
  do {
    head = (uint8_t)*stream++;
    for (const int8_t *end = stream + 5 * (head & 127u); stream != end; stream += 5) {
      column += 8 * (uint8_t)stream[0];
      uint32_t four = tinyopt_load_s8x4(stream + 1);
      uint32_t weights = odd ? tinyopt_sxtb16_ror8(four) : tinyopt_sxtb16(four);
      const uint32_t *words = (const uint32_t *)(const void *)column;
      uint32_t x02 = words[0];
      uint32_t x13 = words[1];
      a.sum0 = tinyopt_smlabb(x02, weights, a.sum0);
      a.sum1 = tinyopt_smlabb(x13, weights, a.sum1);
      a.sum2 = tinyopt_smlatb(x02, weights, a.sum2);
      a.sum3 = tinyopt_smlatb(x13, weights, a.sum3);
      b.sum0 = tinyopt_smlatb(weights, x02, b.sum0);
      b.sum1 = tinyopt_smlatb(weights, x13, b.sum1);
      b.sum2 = tinyopt_smlatt(x02, weights, b.sum2);
      b.sum3 = tinyopt_smlatt(x13, weights, b.sum3);
    }
  } while (head & 128u);
  *first = a;
  *second = b;
  return stream;
}

static TINYOPT_NEVER_INLINE void channels(const tinyopt_conv2d_s8 *op, const int8_t *columns, int32_t count,
                                          int8_t *output) {
  const int8_t *stream = op->weights;
  int32_t offset = 2 * op->output_zero_point + 1;
  for (int32_t first = 0; first < op->output_channels; first += 4) {
    int32_t lanes = tinyopt_min(4, op->output_channels - first);
    tinyopt_sparse_sums_4 sums[4] = {{0}};
    for (int32_t lane = 0; lane < lanes; ++lane) {
      int32_t bias = op->bias[first + lane];
      sums[lane] = (tinyopt_sparse_sums_4){bias, bias, bias, bias};
    }
    add_blocks(columns, stream, true, &sums[1], &sums[3]);
    stream = add_blocks(columns, stream, false, &sums[0], &sums[2]);
    for (int32_t lane = 0; lane < lanes; ++lane) {
      tinyopt_sparse_finish_4(op, &sums[lane], first + lane, count, offset, output);
    }
  }
  tinyopt_sparse_clamp(op, count, output);
}

void tinyopt_sparse_conv2d_s8_4x1_dsp(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  tinyopt_sparse_convolve(op, input, output, scratch, TINYOPT_SPARSE_FOUR, tinyopt_sparse_columns_4, channels);
}
