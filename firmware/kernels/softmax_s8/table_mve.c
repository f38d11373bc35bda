/* Softmax with Helium: four exponentials at a time, gathered from the table. */
#include "rows_mve.h"

#if TINYOPT_HAS_MVE

/* The exponentials of up to four inputs; zero behind the table's end and where lanes are off. */
static inline int32x4_t exponentials_of(const tinyopt_softmax_s8 *op, const int8_t *input, int32_t largest,
                                        mve_pred16_t lanes) {
  int32x4_t steps = vsubq_s32(vdupq_n_s32(largest), vldrbq_z_s32(input, lanes));
  mve_pred16_t inside = vcmpleq_m_n_s32(steps, -op->least_difference, lanes);
  return vldrwq_gather_shifted_offset_z_s32(op->table, (uint32x4_t)steps, inside);
}

static TINYOPT_ALWAYS_INLINE void softmax_row(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output) {
  const int32_t largest = tinyopt_softmax_s8_largest_mve(input, op->depth);
  int32_t sum = 0;
  for (int32_t done = 0; done < op->depth; done += 4) {
    mve_pred16_t lanes = vctp32q((uint32_t)(op->depth - done));
    sum = tinyopt_softmax_s8_add_mve(sum, exponentials_of(op, input + done, largest, lanes));
  }
  const tinyopt_softmax_s8_scale scale = tinyopt_softmax_s8_scale_of(op, sum);
  for (int32_t done = 0; done < op->depth; done += 4) {
    mve_pred16_t lanes = vctp32q((uint32_t)(op->depth - done));
    int32x4_t exponentials = exponentials_of(op, input + done, largest, lanes);
    tinyopt_softmax_s8_store_mve(op, &scale, exponentials, output + done, lanes);
  }
}

#else /* the same computation in C, for tests on other machines */

static int32_t exponential_of(const tinyopt_softmax_s8 *op, int32_t steps) {
  return steps <= -op->least_difference ? op->table[steps] : 0;
}

static TINYOPT_ALWAYS_INLINE void softmax_row(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output) {
  const int32_t largest = tinyopt_softmax_s8_largest(input, op->depth);
  int32_t sum = 0;
  for (int32_t i = 0; i < op->depth; ++i) {
    sum += tinyopt_rounding_shift_right(exponential_of(op, largest - input[i]), 12);
  }
  const tinyopt_softmax_s8_scale scale = tinyopt_softmax_s8_scale_of(op, sum);
  for (int32_t i = 0; i < op->depth; ++i) {
    int32_t exponential = exponential_of(op, largest - input[i]);
    output[i] = tinyopt_softmax_s8_output(op, tinyopt_softmax_s8_probability(exponential, &scale));
  }
}

#endif

void tinyopt_softmax_s8_table_mve(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output) {
  /* A copy, whose fields stay in registers: the compiler must assume that a written byte may change *op. */
  const tinyopt_softmax_s8 p = *op;
  for (int32_t row = 0; row < p.rows; ++row, input += p.depth, output += p.depth) {
    softmax_row(&p, input, output);
  }
}
