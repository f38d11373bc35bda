/* Products of int8 tensors with Helium, four elements at a time. */
#include "mul_s8.h"
#include "mve.h"

/* A row of `columns` outputs. */
static void multiply_row(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
#if TINYOPT_HAS_MVE
  const int32_t a_step = 4 * op->broadcast.a_step;
  const int32_t b_step = 4 * op->broadcast.b_step;
  const int32x4_t multiplier = vdupq_n_s32(op->multiplier);
  const int32x4_t shift = vdupq_n_s32(op->shift);
  /* Lanes read their own element, or all of them the same one. */
  const uint32x4_t index = {0, 1, 2, 3};
  const uint32x4_t a_index = a_step ? index : vdupq_n_u32(0);
  const uint32x4_t b_index = b_step ? index : vdupq_n_u32(0);
  for (int32_t left = op->broadcast.columns; left > 0; left -= 4, a += a_step, b += b_step, output += 4) {
    mve_pred16_t lanes = vctp32q((uint32_t)left);
    int32x4_t x = vsubq_n_s32(vldrbq_gather_offset_z_s32(a, a_index, lanes), op->a_zero_point);
    int32x4_t y = vsubq_n_s32(vldrbq_gather_offset_z_s32(b, b_index, lanes), op->b_zero_point);
    int32x4_t value = tinyopt_mve_requantize(vmulq_s32(x, y), multiplier, shift);
    value = vaddq_n_s32(value, op->output_zero_point);
    value = vmaxq_s32(value, vdupq_n_s32(op->clamp_low));
    vstrbq_p_s32(output, vminq_s32(value, vdupq_n_s32(op->clamp_high)), lanes);
  }
#else
  for (int32_t i = 0; i < op->broadcast.columns; ++i) {
    int32_t x = a[i * op->broadcast.a_step] - op->a_zero_point;
    int32_t y = b[i * op->broadcast.b_step] - op->b_zero_point;
    output[i] =
        tinyopt_requantize_s8(x * y, op->multiplier, op->shift, op->output_zero_point, op->clamp_low, op->clamp_high);
  }
#endif
}

void tinyopt_mul_s8_mve(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  tinyopt_broadcast_row row = {0};
  do {
    multiply_row(op, a + row.a, b + row.b, output);
    output += op->broadcast.columns;
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}

void tinyopt_mul_s8_constant_mve(const tinyopt_mul_s8 *op, const int8_t *input, int8_t *output) {
  if (op->constant_first) {
    tinyopt_mul_s8_mve(op, op->constant, input, output);
  } else {
    tinyopt_mul_s8_mve(op, input, op->constant, output);
  }
}
