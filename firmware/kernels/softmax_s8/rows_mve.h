/* What the Helium kernels share: the largest element of a row, and its outputs from exponentials.
 *
 * VQRDMULH is the contract's product of an exponential and the reciprocal of the sum, VRSHL the shift that rounds it;
 * neither value is negative, so ties away from zero are ties up. */
#ifndef TINYOPT_SOFTMAX_S8_ROWS_MVE_H
#define TINYOPT_SOFTMAX_S8_ROWS_MVE_H

#include "mve.h"
#include "softmax_s8.h"

#if TINYOPT_HAS_MVE

static inline int32_t tinyopt_softmax_s8_largest_mve(const int8_t *row, int32_t depth) {
  int8_t largest = INT8_MIN;
  for (int32_t left = depth; left > 0; left -= 16, row += 16) {
    mve_pred16_t lanes = vctp8q((uint32_t)left);
    largest = vmaxvq_p_s8(largest, vldrbq_z_s8(row, lanes), lanes);
  }
  return largest;
}

/* Add up to four exponentials, in Q12; those of lanes that are off are zero. */
static inline int32_t tinyopt_softmax_s8_add_mve(int32_t sum, int32x4_t exponentials) {
  return vaddvaq_s32(sum, vrshrq_n_s32(exponentials, 12));
}

/* Up to four outputs. */
static inline void tinyopt_softmax_s8_store_mve(const tinyopt_softmax_s8 *op, const tinyopt_softmax_s8_scale *scale,
                                                int32x4_t exponentials, int8_t *output, mve_pred16_t lanes) {
  int32x4_t values = vrshlq_n_s32(vqrdmulhq_n_s32(exponentials, scale->inverse), -scale->shift);
  if (op->output_bits != 8) {
    values = tinyopt_mve_requantize_any(values, op->multiplier, op->shift);
  }
  values = tinyopt_mve_output(values, op->output_zero_point, vdupq_n_s32(INT8_MIN), vdupq_n_s32(INT8_MAX));
  vstrbq_p_s32(output, values, lanes);
}

#endif

#endif
