/* Sum of two int8 tensors of one shape with Helium, four elements at a time. */
#include "add_s8.h"
#include "mve.h"

#if TINYOPT_HAS_MVE

void tinyopt_add_s8_mve(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  /* b_shift is zero only with the multiplier one half. Twice the value, halved, is the same: it needs no rounding. */
  int32_t b_factor = op->b_shift < 0 ? 1 << 20 : 1 << 21;
  int32_t b_shift = op->b_shift < 0 ? op->b_shift : -1;
  int32x4_t a_factors = vdupq_n_s32(op->a_factor);
  int32x4_t b_factors = vdupq_n_s32(b_factor);
  int32x4_t zero_points = vdupq_n_s32(op->output_zero_point); /* a vector: there are not enough other registers */
  int32x4_t low = vdupq_n_s32(op->clamp_low);
  int32x4_t high = vdupq_n_s32(op->clamp_high);
  register int32_t count __asm__("lr") = op->broadcast.columns; /* where the loop counts: every register is needed */
  __asm__ volatile(
      "wlstp.32 lr, lr, 2f\n"
      "1:\n"
      "vldrb.s32 q1, [%[b]], #4\n"
      "vmlas.s32 q1, %q[b_factors], %[b_offset]\n"
      "vldrb.s32 q0, [%[a]], #4\n"
      "vqrdmulh.s32 q1, q1, %[b_multiplier]\n"
      "vmlas.s32 q0, %q[a_factors], %[a_offset]\n"
      "vshr.s32 q2, q1, #31\n" /* ties away from zero: see tinyopt_mve_requantize */
      "vadd.i32 q1, q1, q2\n"
      "vrshl.s32 q1, %[b_shift]\n"
      "vmla.s32 q0, q1, %[b_sign]\n"
      "vqrdmulh.s32 q0, q0, %[multiplier]\n"
      "vshr.s32 q2, q0, #31\n"
      "vadd.i32 q0, q0, q2\n"
      "vrshl.s32 q0, %[shift]\n"
      "vadd.i32 q0, q0, %q[zero_points]\n"
      "vmax.s32 q0, q0, %q[low]\n"
      "vmin.s32 q0, q0, %q[high]\n"
      "vstrb.32 q0, [%[output]], #4\n"
      "letp lr, 1b\n"
      "2:\n"
      : [a] "+l"(a), [b] "+l"(b), [output] "+l"(output), "+r"(count)
      : [a_factors] "w"(a_factors), [b_factors] "w"(b_factors), [low] "w"(low), [high] "w"(high),
        [a_offset] "r"(op->a_offset), [b_offset] "r"(-op->b_zero_point * b_factor),
        [b_multiplier] "r"(op->b_multiplier), [b_shift] "r"(b_shift), [b_sign] "r"(op->b_sign),
        [multiplier] "r"(op->output_multiplier), [shift] "r"(op->output_shift), [zero_points] "w"(zero_points)
      : "q0", "q1", "q2", "memory");
}

#else /* the same computation in C, for tests on other machines */

void tinyopt_add_s8_mve(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  int32_t b_factor = op->b_shift < 0 ? 1 << 20 : 1 << 21;
  int b_right = op->b_shift < 0 ? -op->b_shift : 1;
  for (int32_t i = 0; i < op->broadcast.columns; ++i) {
    int32_t second = tinyopt_doubling_high_multiply((b[i] - op->b_zero_point) * b_factor, op->b_multiplier);
    int32_t sum = a[i] * op->a_factor + op->a_offset + op->b_sign * tinyopt_rounding_shift_right(second, b_right);
    output[i] = tinyopt_requantize_s8(sum, op->output_multiplier, op->output_shift, op->output_zero_point,
                                      op->clamp_low, op->clamp_high);
  }
}

#endif
