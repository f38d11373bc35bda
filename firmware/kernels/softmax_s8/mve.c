/* Softmax with Helium: four exponentials at a time, computed as in fixed_point.c. */
#include "rows_mve.h"

#if TINYOPT_HAS_MVE

/* exp(a) in Q0 for a <= 0 in Q5: see tinyopt_exp_on_negative_values. What is shifted with rounding is never negative.
 */
static inline int32x4_t exponentials_of(int32x4_t a) {
  static const int32_t powers[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  const int32_t exp_minus_eighth = 1895147668;
  const int32_t one_third = 715827883;
  const int32_t quarter = 1 << 24;
  int32x4_t modulo = vsubq_n_s32(vandq_s32(a, vdupq_n_s32(quarter - 1)), quarter);
  int32x4_t x = vaddq_n_s32(vshlq_n_s32(modulo, 5), 1 << 28);
  int32x4_t x2 = vqrdmulhq_s32(x, x);
  int32x4_t x3 = vqrdmulhq_s32(x2, x);
  int32x4_t x4 = vqrdmulhq_s32(x2, x2);
  int32x4_t tail = vaddq_s32(vqrdmulhq_n_s32(vaddq_s32(vrshrq_n_s32(x4, 2), x3), one_third), x2);
  int32x4_t polynomial = vaddq_s32(x, vrshrq_n_s32(tail, 1));
  int32x4_t result = vaddq_n_s32(vqrdmulhq_n_s32(polynomial, exp_minus_eighth), exp_minus_eighth);
  int32x4_t remainder = vsubq_s32(modulo, a);
  for (int32_t k = 0; k < 7; ++k) {
    mve_pred16_t has_factor = vcmpltq_n_s32(vshlq_r_s32(remainder, 7 - k), 0); /* bit 24 + k is the sign */
    result = vpselq_s32(vqrdmulhq_n_s32(result, powers[k]), result, has_factor);
  }
  return vpselq_s32(vdupq_n_s32(INT32_MAX), result, vcmpeqq_n_s32(a, 0));
}

/* Computes the exponentials of a row; returns their sum. */
static int32_t exponentials_of_row(const tinyopt_softmax_s8 *op, const int8_t *input, int32_t *exponentials) {
  const int32_t largest = tinyopt_softmax_s8_largest_mve(input, op->depth);
  int32_t sum = 0;
  for (int32_t left = op->depth; left > 0; left -= 4, input += 4, exponentials += 4) {
    mve_pred16_t lanes = vctp32q((uint32_t)left);
    int32x4_t difference = vsubq_n_s32(vldrbq_z_s32(input, lanes), largest);
    mve_pred16_t inside = vcmpgeq_m_n_s32(difference, op->least_difference, lanes);
    int32x4_t found = exponentials_of(tinyopt_mve_requantize_any(difference, op->input_multiplier, op->input_shift));
    found = vpselq_s32(found, vdupq_n_s32(0), inside);
    sum = tinyopt_softmax_s8_add_mve(sum, found);
    vstrwq_p_s32(exponentials, found, lanes);
  }
  return sum;
}

static void write_row(const tinyopt_softmax_s8 *op, const int32_t *exponentials, int32_t sum, int8_t *output) {
  const tinyopt_softmax_s8_scale scale = tinyopt_softmax_s8_scale_of(op, sum);
  for (int32_t left = op->depth; left > 0; left -= 4, exponentials += 4, output += 4) {
    mve_pred16_t lanes = vctp32q((uint32_t)left);
    tinyopt_softmax_s8_store_mve(op, &scale, vldrwq_z_s32(exponentials, lanes), output, lanes);
  }
}

#else /* the same computation in C, for tests on other machines */

static int32_t exponentials_of_row(const tinyopt_softmax_s8 *op, const int8_t *input, int32_t *exponentials) {
  const int32_t largest = tinyopt_softmax_s8_largest(input, op->depth);
  int32_t sum = 0;
  for (int32_t i = 0; i < op->depth; ++i) {
    int32_t scaled = tinyopt_requantize_called(input[i] - largest, op->input_multiplier, op->input_shift);
    exponentials[i] = input[i] - largest < op->least_difference ? 0 : tinyopt_exp_on_negative_values(scaled);
    sum += tinyopt_rounding_shift_right(exponentials[i], 12);
  }
  return sum;
}

static void write_row(const tinyopt_softmax_s8 *op, const int32_t *exponentials, int32_t sum, int8_t *output) {
  const tinyopt_softmax_s8_scale scale = tinyopt_softmax_s8_scale_of(op, sum);
  for (int32_t i = 0; i < op->depth; ++i) {
    output[i] = tinyopt_softmax_s8_output(op, tinyopt_softmax_s8_probability(exponentials[i], &scale));
  }
}

#endif

void tinyopt_softmax_s8_mve(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  for (int32_t row = 0; row < op->rows; ++row, input += op->depth, output += op->depth) {
    int32_t sum = exponentials_of_row(op, input, scratch);
    write_row(op, scratch, sum, output);
  }
}
