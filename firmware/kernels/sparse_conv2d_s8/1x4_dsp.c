/* Convolution of blocks of four inputs, with the Arm DSP extension. Columns are those of a block: taps 0 and 2 of every
 * pixel, then taps 1 and 3 of every pixel, as pairs, so that an SMLAD makes two products and no weight is rearranged.
 * Rows of taps are multiples of four. */
#include "four_pixels.h"

static TINYOPT_NEVER_INLINE int8_t *columns_of_blocks(const int8_t *const *pixels, int32_t taps, int8_t *columns) {
  const int8_t *x0 = pixels[0];
  const int8_t *x1 = pixels[1];
  const int8_t *x2 = pixels[2];
  const int8_t *x3 = pixels[3];
  uint32_t *words = (uint32_t *)(void *)columns;
  for (const int8_t *end = x0 + taps; x0 != end; x0 += 4, x1 += 4, x2 += 4, x3 += 4, words += 8) {
    uint32_t a = tinyopt_load_s8x4(x0);
    uint32_t b = tinyopt_load_s8x4(x1);
    uint32_t c = tinyopt_load_s8x4(x2);
    uint32_t d = tinyopt_load_s8x4(x3);
    words[0] = tinyopt_sxtb16(a);
    words[1] = tinyopt_sxtb16(b);
    words[2] = tinyopt_sxtb16(c);
    words[3] = tinyopt_sxtb16(d);
    words[4] = tinyopt_sxtb16_ror8(a);
    words[5] = tinyopt_sxtb16_ror8(b);
    words[6] = tinyopt_sxtb16_ror8(c);
    words[7] = tinyopt_sxtb16_ror8(d);
  }
  return (int8_t *)words;
}

/* Returns where the next row begins. */
static TINYOPT_ALWAYS_INLINE const int8_t *add_blocks(const int8_t *columns, const int8_t *stream,
                                                      tinyopt_sparse_sums_4 *sums) {
  tinyopt_sparse_sums_4 s = *sums;
  const uint32_t *words = (const uint32_t *)(const void *)columns;
  uint32_t head;
  do {
    head = (uint8_t)*stream++;
    for (const int8_t *end = stream + 5 * (head & 127u); stream != end; stream += 5) {
      words += 8 * (uint8_t)stream[0];
      uint32_t weights = tinyopt_load_s8x4(stream + 1);
      uint32_t even = tinyopt_sxtb16(weights);
      uint32_t odd = tinyopt_sxtb16_ror8(weights);
      s.sum0 = tinyopt_smlad(words[0], even, s.sum0);
      s.sum1 = tinyopt_smlad(words[1], even, s.sum1);
      s.sum2 = tinyopt_smlad(words[2], even, s.sum2);
      s.sum3 = tinyopt_smlad(words[3], even, s.sum3);
      s.sum0 = tinyopt_smlad(words[4], odd, s.sum0);
      s.sum1 = tinyopt_smlad(words[5], odd, s.sum1);
      s.sum2 = tinyopt_smlad(words[6], odd, s.sum2);
      s.sum3 = tinyopt_smlad(words[7], odd, s.sum3);
    }
  } while (head & 128u);
  *sums = s;
  return stream;
}

static TINYOPT_NEVER_INLINE void channels(const tinyopt_conv2d_s8 *op, const int8_t *columns, int32_t count,
                                          int8_t *output) {
  const int8_t *stream = op->weights;
  int32_t offset = 2 * op->output_zero_point + 1;
  for (int32_t channel = 0; channel < op->output_channels; ++channel) {
    int32_t bias = op->bias[channel];
    tinyopt_sparse_sums_4 sums = {bias, bias, bias, bias};
    stream = add_blocks(columns, stream, &sums);
    tinyopt_sparse_finish_4(op, &sums, channel, count, offset, output);
  }
  tinyopt_sparse_clamp(op, count, output);
}

void tinyopt_sparse_conv2d_s8_1x4_dsp(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  tinyopt_sparse_convolve(op, input, output, scratch, TINYOPT_SPARSE_FOUR, columns_of_blocks, channels);
}
