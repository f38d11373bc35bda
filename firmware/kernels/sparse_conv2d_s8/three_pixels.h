/* Columns of three pixels for cores without SIMD: two multiplications make three products, see triples.h. A walk
 * flushes after 62 weights at most, whose products with int8 inputs sum to less than 2^20 - 2^10. */
#ifndef TINYOPT_SPARSE_CONV2D_THREE_PIXELS_H
#define TINYOPT_SPARSE_CONV2D_THREE_PIXELS_H

#include "narrow.h"
#include "pixels.h"
#include "triples.h"

enum { TINYOPT_SPARSE_THREE = 3 };

typedef struct {
  uint32_t a, b;    /* what the columns and weights since the last flush sum to */
  int32_t total[3]; /* the sums until then */
} tinyopt_sparse_sums_3;

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_add_3(void *sums, const int8_t *column, int32_t weight) {
  tinyopt_sparse_sums_3 *s = sums;
  const uint32_t *words = (const uint32_t *)(const void *)column;
  s->a += words[0] * (uint32_t)weight;
  s->b += words[1] * (uint32_t)weight;
}

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_flush_3(void *sums) {
  tinyopt_sparse_sums_3 *s = sums;
  int32_t parts[TINYOPT_SPARSE_THREE];
  tinyopt_triples_split((int32_t)s->a, (int32_t)s->b, parts);
  for (int32_t i = 0; i < TINYOPT_SPARSE_THREE; ++i) {
    s->total[i] += parts[i];
  }
  s->a = 0;
  s->b = 0;
}

static TINYOPT_ALWAYS_INLINE tinyopt_sparse_sums_3 tinyopt_sparse_from_3(int32_t bias) {
  return (tinyopt_sparse_sums_3){0, 0, {bias, bias, bias}};
}

static inline int8_t *tinyopt_sparse_columns_3(const int8_t *const *pixels, int32_t taps, int8_t *columns) {
  return (int8_t *)tinyopt_triples_columns(pixels, taps, (int32_t *)(void *)columns);
}

/* One channel of `count` pixels. */
static inline void tinyopt_sparse_finish_3(const tinyopt_conv2d_s8 *op, const int32_t *totals, int32_t channel,
                                           int32_t count, int8_t *output) {
  tinyopt_narrow scale = tinyopt_narrow_to(op->output_zero_point, op->clamp_low, op->clamp_high);
  int32_t i = channel * op->per_channel;
  scale.multiplier = op->multipliers[i];
  scale.right = -op->shifts[i] - 1;
  tinyopt_narrow_line(&scale, totals, output + channel, op->output_channels, count);
}

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_channels_3(const tinyopt_conv2d_s8 *op, const int8_t *columns,
                                                            int32_t count, int8_t *output, tinyopt_sparse_row *row_of) {
  const int8_t *stream = op->weights;
  int32_t taps = op->kernel_height * op->kernel_width * op->input_channels;
  for (int32_t channel = 0; channel < op->output_channels; ++channel) {
    tinyopt_sparse_sums_3 sums = tinyopt_sparse_from_3(op->bias[channel]);
    tinyopt_sparse_walk walk = {columns, taps, 8, tinyopt_sparse_add_3, tinyopt_sparse_flush_3, &sums};
    stream = row_of(&walk, stream);
    tinyopt_sparse_finish_3(op, sums.total, channel, count, output);
  }
}

#endif
