/* Columns of three pixels for cores without SIMD: two multiplications make three products, see triples.h. A walk
 * flushes after 62 weights at most, whose products with int8 inputs sum to less than 2^20 - 2^10. */
#ifndef TINYOPT_SPARSE_CONV2D_THREE_PIXELS_H
#define TINYOPT_SPARSE_CONV2D_THREE_PIXELS_H

#include "pixels.h"
#include "triples.h"

enum { TINYOPT_SPARSE_THREE = 3, TINYOPT_SPARSE_BLOCK = 4 };

/* Of one channel. */
typedef struct {
  uint32_t a, b;   /* what the columns and weights since the last flush sum to */
  int32_t *totals; /* the sums of the three pixels until then */
} tinyopt_sparse_sums_3;

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_add_3(void *sums, const int8_t *column, int32_t weight) {
  tinyopt_sparse_sums_3 *s = sums;
  const uint32_t *words = (const uint32_t *)(const void *)column;
  s->a += words[0] * (uint32_t)weight;
  s->b += words[1] * (uint32_t)weight;
}

/* What the last weights of a row sum to is left in a and b. */
static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_flush_3(void *sums, bool more) {
  tinyopt_sparse_sums_3 *s = sums;
  if (more) {
    int32_t parts[TINYOPT_SPARSE_THREE];
    tinyopt_triples_split((int32_t)s->a, (int32_t)s->b, parts);
    s->totals[0] += parts[0];
    s->totals[1] += parts[1];
    s->totals[2] += parts[2];
    s->a = 0;
    s->b = 0;
  }
}

static inline int8_t *tinyopt_sparse_columns_3(const int8_t *const *pixels, int32_t taps, int8_t *columns) {
  return (int8_t *)tinyopt_triples_columns(pixels, taps, (int32_t *)(void *)columns);
}

/* Walks the row, or the row of blocks, of channel `lane` of four; returns where the walk ended. */
typedef const int8_t *tinyopt_sparse_lane(const tinyopt_sparse_walk *walk, const int8_t *stream, int32_t lane);

/* All channels of `count` pixels, four at a time. `shared`: the four have one row of the stream. */
static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_channels_3(const tinyopt_conv2d_s8 *op, const int8_t *columns,
                                                            int32_t count, int8_t *output, tinyopt_sparse_lane *lane_of,
                                                            bool shared) {
  const int8_t *stream = op->weights;
  int32_t sums[2 * TINYOPT_SPARSE_BLOCK];
  int32_t totals[TINYOPT_SPARSE_THREE * TINYOPT_SPARSE_BLOCK];
  tinyopt_triples_outputs outputs = {
      .multipliers = op->multipliers,
      .shifts = op->shifts,
      .bias = op->bias,
      .output = output,
      .per_channel = op->per_channel,
      .step = op->output_channels,
      .pixels = count,
      .offset = 2 * (op->output_zero_point - op->clamp_low) + 1,
      .low = op->clamp_low,
      .range = (uint32_t)(op->clamp_high - op->clamp_low),
  };
  int32_t taps = op->kernel_height * op->kernel_width * op->input_channels;
  for (int32_t left = op->output_channels; left > 0; left -= TINYOPT_SPARSE_BLOCK) {
    const int8_t *next = stream;
    outputs.channels = tinyopt_min(TINYOPT_SPARSE_BLOCK, left);
    memset(totals, 0, sizeof totals);
    for (int32_t lane = 0; lane < outputs.channels; ++lane) {
      tinyopt_sparse_sums_3 s = {0, 0, totals + TINYOPT_SPARSE_THREE * lane};
      tinyopt_sparse_walk walk = {columns, taps, 8, tinyopt_sparse_add_3, tinyopt_sparse_flush_3, &s};
      next = lane_of(&walk, shared ? stream : next, lane);
      sums[2 * lane] = (int32_t)s.a;
      sums[2 * lane + 1] = (int32_t)s.b;
    }
    stream = next;
    outputs.sums = sums; /* finishing counts these along */
    outputs.totals = totals;
    tinyopt_triples_finish(&outputs);
  }
}

#endif
