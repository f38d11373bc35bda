/* One output after the other, each by a walk along its row. */
#ifndef TINYOPT_SPARSE_FULLY_CONNECTED_ROWS_H
#define TINYOPT_SPARSE_FULLY_CONNECTED_ROWS_H

#include "narrow.h"
#include "sparse.h"
#include "sparse_fully_connected_s8.h"

/* `count` outputs from output `first` on; `output`: that of the first. */
static inline void tinyopt_sparse_finish(const tinyopt_fully_connected_s8 *op, const int32_t *sums, int32_t first,
                                         int32_t count, int8_t *output) {
  tinyopt_narrow scale = tinyopt_narrow_to(op->output_zero_point, op->clamp_low, op->clamp_high);
  for (int32_t i = 0; i < count; ++i) {
    int32_t channel = (first + i) * op->per_channel;
    scale.multiplier = op->multipliers[channel];
    scale.right = -op->shifts[channel] - 1;
    output[i] = tinyopt_narrow_s8(&scale, sums[i]);
  }
}

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_add_one(void *sums, const int8_t *column, int32_t weight) {
  *(int32_t *)sums += *column * weight;
}

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_flush_none(void *sums, bool more) {
  (void)sums;
  (void)more;
}

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_connect(const tinyopt_fully_connected_s8 *op, const int8_t *input,
                                                         int8_t *output, tinyopt_sparse_row *row_of) {
  for (int32_t row = 0; row < op->rows; ++row, input += op->input_size, output += op->output_size) {
    const int8_t *stream = op->weights;
    for (int32_t o = 0; o < op->output_size; ++o) {
      int32_t sum = op->bias[o];
      tinyopt_sparse_walk walk = {input, op->input_size, 1, tinyopt_sparse_add_one, tinyopt_sparse_flush_none, &sum};
      stream = row_of(&walk, stream);
      tinyopt_sparse_finish(op, &sum, o, 1, output + o);
    }
  }
}

#endif
