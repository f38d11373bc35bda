/* Products of int8 tensors with Helium, four elements at a time. */
#include "mul_s8.h"
#include "mve.h"

#if TINYOPT_HAS_MVE

/* Registers: q0 the values, q1 their signs. Of a sum of the product's high multiply and its sign, VRSHL rounds ties
 * away from zero: see tinyopt_mve_requantize. */
#define FINISH                                                                                                         \
  "vqrdmulh.s32 q0, q0, %[multiplier]\n"                                                                               \
  "vshr.s32 q1, q0, #31\n"                                                                                             \
  "vadd.i32 q0, q0, q1\n"                                                                                              \
  "vrshl.s32 q0, %[shift]\n"                                                                                           \
  "vadd.i32 q0, q0, %[zero_point]\n"                                                                                   \
  "vmax.s32 q0, q0, %q[low]\n"                                                                                         \
  "vmin.s32 q0, q0, %q[high]\n"                                                                                        \
  "vstrb.32 q0, [%[output]], #4\n"                                                                                     \
  "letp lr, 1b\n"                                                                                                      \
  "2:\n"

/* A row of products of neighbours. */
static void multiply_row(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  int32x4_t low = vdupq_n_s32(op->clamp_low);
  int32x4_t high = vdupq_n_s32(op->clamp_high);
  register int32_t count __asm__("lr") = op->broadcast.columns; /* where the loop counts: many registers are needed */
  __asm__ volatile(
      "wlstp.32 lr, lr, 2f\n"
      "1:\n"
      "vldrb.s32 q0, [%[a]], #4\n"
      "vldrb.s32 q1, [%[b]], #4\n"
      "vadd.i32 q0, q0, %[a_offset]\n"
      "vadd.i32 q1, q1, %[b_offset]\n"
      "vmul.i32 q0, q0, q1\n" FINISH
      : [a] "+l"(a), [b] "+l"(b), [output] "+l"(output), "+r"(count)
      : [low] "w"(low), [high] "w"(high), [a_offset] "r"(-op->a_zero_point), [b_offset] "r"(-op->b_zero_point),
        [multiplier] "r"(op->multiplier), [shift] "r"(op->shift), [zero_point] "r"(op->output_zero_point)
      : "q0", "q1", "memory");
}

/* A row of products with one factor, the zero point taken from it. */
static void scale_row(const tinyopt_mul_s8 *op, const int8_t *x, int32_t zero_point, int32_t factor, int8_t *output) {
  int32x4_t low = vdupq_n_s32(op->clamp_low);
  int32x4_t high = vdupq_n_s32(op->clamp_high);
  register int32_t count __asm__("lr") = op->broadcast.columns;
  __asm__ volatile("wlstp.32 lr, lr, 2f\n"
                   "1:\n"
                   "vldrb.s32 q0, [%[x]], #4\n"
                   "vadd.i32 q0, q0, %[x_offset]\n"
                   "vmul.i32 q0, q0, %[factor]\n" FINISH
                   : [x] "+l"(x), [output] "+l"(output), "+r"(count)
                   : [low] "w"(low), [high] "w"(high), [x_offset] "r"(-zero_point), [factor] "r"(factor),
                     [multiplier] "r"(op->multiplier), [shift] "r"(op->shift), [zero_point] "r"(op->output_zero_point)
                   : "q0", "q1", "memory");
}

#else /* the same computation in C, for tests on other machines */

static int8_t output_of(const tinyopt_mul_s8 *op, int32_t product) {
  return tinyopt_requantize_s8(product, op->multiplier, op->shift, op->output_zero_point, op->clamp_low,
                               op->clamp_high);
}

static void multiply_row(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  for (int32_t i = 0; i < op->broadcast.columns; ++i) {
    output[i] = output_of(op, (a[i] - op->a_zero_point) * (b[i] - op->b_zero_point));
  }
}

static void scale_row(const tinyopt_mul_s8 *op, const int8_t *x, int32_t zero_point, int32_t factor, int8_t *output) {
  for (int32_t i = 0; i < op->broadcast.columns; ++i) {
    output[i] = output_of(op, (x[i] - zero_point) * factor);
  }
}

#endif

void tinyopt_mul_s8_mve(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  tinyopt_broadcast_row row = {0};
  do {
    const int8_t *a_row = a + row.a;
    const int8_t *b_row = b + row.b;
    if (op->broadcast.b_step == 0) { /* an operand of a step 0 is one value */
      scale_row(op, a_row, op->a_zero_point, *b_row - op->b_zero_point, output);
    } else if (op->broadcast.a_step == 0) {
      scale_row(op, b_row, op->b_zero_point, *a_row - op->a_zero_point, output);
    } else {
      multiply_row(op, a_row, b_row, output);
    }
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
