/* Fully connected layer for cores without SIMD: four outputs at a time, so that an activation is loaded once for them.
 *
 * weights: per four outputs, their weights for input 0, for input 1, …; missing outputs have zeros. */
#include "fully_connected_s8.h"
#include "narrow.h"

enum { BLOCK = 4 };

#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)

/* The sums are in high registers, which can be added to: the compiler would keep them in memory.
 *
 * Registers: r0 end of x, r1 weights, r2 activation, r3 minus the inputs left, r6 weights, r7 product, r8 to r11 sums.
 * The loop is unrolled four deep and entered so that no inputs are left; an input is 34 bytes of code. */
/* clang-format off */
#define INPUT \
  "ldrsb r2, [r0, r3]\n" \
  "ldmia r1!, {r6}\n" \
  "adds r3, r3, #1\n" \
  "sxtb r7, r6\n" \
  "muls r7, r2, r7\n" \
  "add r8, r8, r7\n" \
  "asrs r6, r6, #8\n" \
  "sxtb r7, r6\n" \
  "muls r7, r2, r7\n" \
  "add r9, r9, r7\n" \
  "asrs r6, r6, #8\n" \
  "sxtb r7, r6\n" \
  "muls r7, r2, r7\n" \
  "add r10, r10, r7\n" \
  "asrs r6, r6, #8\n" \
  "muls r6, r2, r6\n" \
  "add r11, r11, r6\n"

#define UNUSED __attribute__((unused))

__attribute__((naked, noinline)) static void add_products(const int8_t *x UNUSED, const int8_t *weights UNUSED,
                                                          int32_t size UNUSED, int32_t *sums UNUSED) {
  __asm__ volatile(
      ".syntax unified\n"
      "push {r3-r7, lr}\n"
      "mov r4, r8\n"
      "mov r5, r9\n"
      "mov r6, r10\n"
      "mov r7, r11\n"
      "push {r4-r7}\n"
      "ldmia r3!, {r4-r7}\n"
      "mov r8, r4\n"
      "mov r9, r5\n"
      "mov r10, r6\n"
      "mov r11, r7\n"
      "adds r0, r0, r2\n"
      "negs r3, r2\n"
      "lsls r4, r3, #30\n"
      "lsrs r4, r4, #30\n" /* inputs to skip */
      "movs r5, #34\n"
      "muls r4, r5, r4\n"
      "adr r5, 1f\n"
      "adds r4, r4, r5\n"
      "adds r4, r4, #1\n"
      "bx r4\n"
      ".balign 4\n"
      "1:\n"
      INPUT INPUT INPUT INPUT
      "cmp r3, #0\n"
      "bne 1b\n"
      "ldr r4, [sp, #16]\n"
      "mov r0, r8\n"
      "mov r1, r9\n"
      "mov r2, r10\n"
      "mov r3, r11\n"
      "stmia r4!, {r0-r3}\n"
      "pop {r4-r7}\n"
      "mov r8, r4\n"
      "mov r9, r5\n"
      "mov r10, r6\n"
      "mov r11, r7\n"
      "pop {r3-r7, pc}\n");
}
/* clang-format on */

#else

__attribute__((noinline)) static void add_products(const int8_t *x, const int8_t *weights, int32_t size,
                                                   int32_t *sums) {
  int32_t sum0 = sums[0], sum1 = sums[1], sum2 = sums[2], sum3 = sums[3];
  const int8_t *end = x + size;
  if (size & 1) {
    int32_t activation = *x++;
    sum0 += activation * weights[0];
    sum1 += activation * weights[1];
    sum2 += activation * weights[2];
    sum3 += activation * weights[3];
    weights += BLOCK;
  }
  for (; x < end; x += 2, weights += 2 * BLOCK) {
    int32_t activation = x[0];
    sum0 += activation * weights[0];
    sum1 += activation * weights[1];
    sum2 += activation * weights[2];
    sum3 += activation * weights[3];
    activation = x[1];
    sum0 += activation * weights[4];
    sum1 += activation * weights[5];
    sum2 += activation * weights[6];
    sum3 += activation * weights[7];
  }
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
}

#endif

void tinyopt_fully_connected_s8_quads(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output) {
  tinyopt_narrow scale = tinyopt_narrow_to(op->output_zero_point, op->clamp_low, op->clamp_high);
  int32_t together = op->per_channel ? 1 : BLOCK; /* outputs with the same scale */
  for (int32_t row = 0; row < op->rows; ++row, input += op->input_size) {
    const int8_t *weights = op->weights;
    for (int32_t block = 0; block < op->output_size; block += BLOCK, weights += BLOCK * op->input_size) {
      int32_t count = tinyopt_min(BLOCK, op->output_size - block);
      int32_t sums[BLOCK] = {0};
      for (int32_t i = 0; i < count; ++i) {
        sums[i] = op->bias[block + i];
      }
      add_products(input, weights, op->input_size, sums);
      for (int32_t i = 0; i < count; i += together) {
        int32_t channel = (block + i) * op->per_channel;
        scale.multiplier = op->multipliers[channel];
        scale.right = -op->shifts[channel] - 1;
        tinyopt_narrow_line(&scale, sums + i, output, 1, tinyopt_min(together, count - i));
        output += tinyopt_min(together, count - i);
      }
    }
  }
}
