/* The linear form of a sum with Helium, four elements at a time. */
#include "add_s8.h"
#include "mve.h"

#if TINYOPT_HAS_MVE

void tinyopt_add_s8_linear_mve(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  int32x4_t a_factors = vdupq_n_s32(op->a_factor);
  int32x4_t none = vdupq_n_s32(0);
  int32x4_t range = vdupq_n_s32(op->clamp_high - op->clamp_low);
  register int32_t count __asm__("lr") = op->broadcast.columns; /* where the loop counts */
  __asm__ volatile("wlstp.32 lr, lr, 2f\n"
                   "1:\n"
                   "vldrb.s32 q0, [%[a]], #4\n"
                   "vmlas.s32 q0, %q[a_factors], %[offset]\n"
                   "vldrb.s32 q1, [%[b]], #4\n"
                   "vmla.s32 q0, q1, %[b_factor]\n"
                   "vshl.s32 q0, %[shift]\n"
                   "vmax.s32 q0, q0, %q[none]\n"
                   "vmin.s32 q0, q0, %q[range]\n"
                   "vadd.i32 q0, q0, %[low]\n"
                   "vstrb.32 q0, [%[output]], #4\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [a] "+l"(a), [b] "+l"(b), [output] "+l"(output), "+r"(count)
                   : [a_factors] "w"(a_factors), [none] "w"(none), [range] "w"(range), [offset] "r"(op->a_offset),
                     [b_factor] "r"(op->b_multiplier), [shift] "r"(-op->output_shift), [low] "r"(op->clamp_low)
                   : "q0", "q1", "memory");
}

#else /* the same computation in C, for tests on other machines */

void tinyopt_add_s8_linear_mve(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  const int32_t range = op->clamp_high - op->clamp_low;
  for (int32_t i = 0; i < op->broadcast.columns; ++i) {
    int32_t sum = tinyopt_mac(tinyopt_mac(op->a_offset, a[i], op->a_factor), b[i], op->b_multiplier);
    output[i] = (int8_t)(tinyopt_clamp(sum >> op->output_shift, 0, range) + op->clamp_low);
  }
}

#endif
