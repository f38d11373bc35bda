#include "triples.h"

static inline int32_t shifted_sum(int32_t low, int32_t high, int bits) {
  return (int32_t)((uint32_t)low + ((uint32_t)high << bits));
}

int32_t *tinyopt_triples_columns(const int8_t *const pixels[3], int32_t taps, int32_t *columns) {
  const int8_t *x0 = pixels[0];
  const int8_t *x1 = pixels[1];
  const int8_t *x2 = pixels[2];
  for (int32_t i = 0; i < taps; ++i) {
    int32_t middle = x1[i];
    columns[0] = shifted_sum(x0[i], middle, 11);
    columns[1] = shifted_sum(x2[i], middle, 21);
    columns += 2;
  }
  return columns;
}

#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)

/* Armv6-M has eight registers that can multiply; the compiler keeps the sums in memory. Here they are in high
 * registers, which can be added to.
 *
 * Registers: r0 columns, r1 weights, r2 to r5 the columns of two taps, r6 weights, r7 product, r8 to r11 sums, r12
 * step, lr end of the columns. A product destroys an operand: the first channel's weight is unpacked twice, the second
 * channel's products destroy the column.
 *
 * The loop is unrolled four deep and entered so that no taps are left; two taps are 54 bytes of code. */
/* clang-format off */
#define TWO_TAPS \
  "ldmia r0!, {r2-r5}\n" \
  "ldr r6, [r1]\n" \
  "add r1, r1, r12\n" \
  "sxtb r7, r6\n" \
  "muls r7, r2, r7\n" \
  "add r8, r8, r7\n" \
  "sxtb r7, r6\n" \
  "muls r7, r3, r7\n" \
  "add r9, r9, r7\n" \
  "asrs r6, r6, #8\n" \
  "sxtb r7, r6\n" \
  "muls r2, r7, r2\n" \
  "add r10, r10, r2\n" \
  "muls r3, r7, r3\n" \
  "add r11, r11, r3\n" \
  "asrs r6, r6, #8\n" \
  "sxtb r7, r6\n" \
  "muls r7, r4, r7\n" \
  "add r8, r8, r7\n" \
  "sxtb r7, r6\n" \
  "muls r7, r5, r7\n" \
  "add r9, r9, r7\n" \
  "asrs r6, r6, #8\n" \
  "muls r4, r6, r4\n" \
  "add r10, r10, r4\n" \
  "muls r5, r6, r5\n" \
  "add r11, r11, r5\n"

#define UNUSED __attribute__((unused))

__attribute__((naked)) void tinyopt_triples_dot_2(const int32_t *columns UNUSED, const int8_t *weights UNUSED,
                                                  int32_t pairs UNUSED, int32_t step UNUSED, int32_t *sums UNUSED) {
  __asm__ volatile(
      ".syntax unified\n"
      "push {r4-r7, lr}\n"
      "mov r4, r8\n"
      "mov r5, r9\n"
      "mov r6, r10\n"
      "mov r7, r11\n"
      "push {r4-r7}\n"
      "mov r12, r3\n"
      "lsls r4, r2, #4\n"
      "adds r4, r4, r0\n"
      "mov lr, r4\n"
      "movs r4, #0\n"
      "mov r8, r4\n"
      "mov r9, r4\n"
      "mov r10, r4\n"
      "mov r11, r4\n"
      "negs r2, r2\n"
      "lsls r2, r2, #30\n"
      "lsrs r2, r2, #30\n" /* two-tap steps to skip */
      "movs r4, #54\n"
      "muls r2, r4, r2\n"
      "adr r4, 1f\n"
      "adds r2, r2, r4\n"
      "adds r2, r2, #1\n"
      "bx r2\n"
      ".balign 4\n"
      "1:\n"
      TWO_TAPS TWO_TAPS TWO_TAPS TWO_TAPS
      "cmp r0, lr\n"
      "bne 1b\n"
      "ldr r4, [sp, #36]\n"
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
      "pop {r4-r7, pc}\n");
}
/* clang-format on */

/* Registers in the loop over pixels: r0 shift, r1 sums, r2 output, r3 step, r4 sum, r5 low, r6 value, r7 product, r8 to
 * r11 bytes of the multiplier from below, r12 offset, lr range. Frame: 0 the three sums, 12 their end, 16 outputs. */
/* clang-format off */
#define BYTE(byte) \
  "asrs r6, r6, #8\n" \
  "mov r7, " byte "\n" \
  "muls r7, r4, r7\n" \
  "adds r6, r6, r7\n"

__attribute__((naked)) void tinyopt_triples_finish(tinyopt_triples_outputs *outputs UNUSED) {
  __asm__ volatile(
      ".syntax unified\n"
      "push {r4-r7, lr}\n"
      "mov r4, r8\n"
      "mov r5, r9\n"
      "mov r6, r10\n"
      "mov r7, r11\n"
      "push {r4-r7}\n"
      "sub sp, sp, #20\n"
      "str r0, [sp, #16]\n"
      "ldr r1, [r0, #36]\n"
      "mov r12, r1\n"
      "ldr r1, [r0, #44]\n"
      "mov lr, r1\n"
      "1:\n" /* a channel: its scale */
      "ldr r7, [r0, #20]\n"
      "ldr r1, [r0, #0]\n"
      "ldr r4, [r1]\n"
      "lsls r2, r7, #2\n"
      "adds r1, r1, r2\n"
      "str r1, [r0, #0]\n"
      "ldr r1, [r0, #4]\n"
      "movs r2, #0\n"
      "ldrsb r3, [r1, r2]\n"
      "mvns r3, r3\n"
      "adds r1, r1, r7\n"
      "str r1, [r0, #4]\n"
      "uxtb r6, r4\n"
      "mov r8, r6\n"
      "lsrs r4, r4, #8\n"
      "uxtb r6, r4\n"
      "mov r9, r6\n"
      "lsrs r4, r4, #8\n"
      "uxtb r6, r4\n"
      "mov r10, r6\n"
      "lsrs r4, r4, #8\n"
      "mov r11, r4\n"
      "ldr r1, [r0, #12]\n" /* its sums, taken apart */
      "ldmia r1!, {r4, r5}\n"
      "str r1, [r0, #12]\n"
      "lsls r6, r5, #11\n"
      "asrs r6, r6, #11\n"
      "subs r5, r5, r6\n"
      "asrs r7, r4, #11\n"
      "lsls r2, r7, #21\n"
      "subs r5, r5, r2\n"
      "asrs r5, r5, #21\n"
      "adds r5, r5, r7\n"
      "lsls r2, r5, #11\n"
      "subs r4, r4, r2\n"
      "ldr r1, [r0, #8]\n" /* bias and totals */
      "ldmia r1!, {r2}\n"
      "str r1, [r0, #8]\n"
      "adds r4, r4, r2\n"
      "adds r5, r5, r2\n"
      "adds r6, r6, r2\n"
      "ldr r1, [r0, #48]\n"
      "cmp r1, #0\n"
      "beq 2f\n"
      "ldmia r1!, {r2}\n"
      "adds r4, r4, r2\n"
      "ldmia r1!, {r2}\n"
      "adds r5, r5, r2\n"
      "ldmia r1!, {r2}\n"
      "adds r6, r6, r2\n"
      "str r1, [r0, #48]\n"
      "2:\n"
      "mov r1, sp\n"
      "stmia r1!, {r4-r6}\n"
      "ldr r2, [r0, #28]\n"
      "lsls r2, r2, #2\n"
      "mov r1, sp\n"
      "adds r2, r2, r1\n"
      "str r2, [sp, #12]\n"
      "ldr r2, [r0, #16]\n"
      "adds r4, r2, #1\n"
      "str r4, [r0, #16]\n"
      "ldr r5, [r0, #40]\n"
      "movs r4, r3\n"
      "ldr r3, [r0, #24]\n"
      "movs r0, r4\n"
      "3:\n" /* a pixel */
      "ldmia r1!, {r4}\n"
      "mov r6, r8\n"
      "muls r6, r4, r6\n"
      BYTE("r9") BYTE("r10") BYTE("r11")
      "adds r6, r6, #64\n"
      "asrs r6, r6, #7\n"
      "asrs r7, r6, #31\n"
      "adds r6, r6, r7\n"
      "asrs r6, r6, r0\n"
      "add r6, r6, r12\n"
      "asrs r6, r6, #1\n"
      "cmp r6, lr\n"
      "bhi 5f\n"
      "4:\n"
      "adds r6, r6, r5\n"
      "strb r6, [r2]\n"
      "ldr r7, [sp, #12]\n"
      "adds r2, r2, r3\n"
      "cmp r1, r7\n"
      "bne 3b\n"
      "ldr r0, [sp, #16]\n"
      "ldr r1, [r0, #32]\n"
      "subs r1, r1, #1\n"
      "str r1, [r0, #32]\n"
      "bne 1b\n"
      "add sp, sp, #20\n"
      "pop {r4-r7}\n"
      "mov r8, r4\n"
      "mov r9, r5\n"
      "mov r10, r6\n"
      "mov r11, r7\n"
      "pop {r4-r7, pc}\n"
      "5:\n" /* below: 0, above: the range */
      "asrs r6, r6, #31\n"
      "mvns r6, r6\n"
      "mov r7, lr\n"
      "ands r6, r6, r7\n"
      "b 4b\n");
}
/* clang-format on */

void tinyopt_triples_dot_4(const int32_t *columns, const int8_t *weights, int32_t pairs, int32_t *sums) {
  tinyopt_triples_dot_2(columns, weights, pairs, 8, sums);
  tinyopt_triples_dot_2(columns, weights + 4, pairs, 8, sums + 4);
}

#else

void tinyopt_triples_finish(tinyopt_triples_outputs *outputs) {
  tinyopt_triples_outputs o = *outputs;
  tinyopt_narrow scale = {.offset = o.offset, .low = o.low, .range = o.range};
  for (int32_t channel = 0; channel < o.channels; ++channel, o.sums += 2) {
    int32_t three[3];
    int32_t bias = *o.bias++;
    tinyopt_triples_split(o.sums[0], o.sums[1], three);
    if (o.totals) {
      three[0] += o.totals[0];
      three[1] += o.totals[1];
      three[2] += o.totals[2];
      o.totals += 3;
    }
    scale.multiplier = *o.multipliers;
    scale.right = -*o.shifts - 1;
    o.multipliers += o.per_channel;
    o.shifts += o.per_channel;
    o.output[0] = tinyopt_narrow_s8(&scale, three[0] + bias);
    if (o.pixels > 1) {
      o.output[o.step] = tinyopt_narrow_s8(&scale, three[1] + bias);
    }
    if (o.pixels > 2) {
      o.output[2 * o.step] = tinyopt_narrow_s8(&scale, three[2] + bias);
    }
    ++o.output;
  }
  *outputs = o;
}

/* sum + column * weight modulo 2^32 */
static inline uint32_t add_product(uint32_t sum, int32_t column, int32_t weight) {
  return sum + (uint32_t)column * (uint32_t)weight;
}

void tinyopt_triples_dot_2(const int32_t *columns, const int8_t *weights, int32_t pairs, int32_t step, int32_t *sums) {
  uint32_t a0 = 0, b0 = 0, a1 = 0, b1 = 0;
  for (const int32_t *end = columns + 4 * pairs; columns < end; columns += 4, weights += step) {
    int32_t a = columns[0], b = columns[1], next_a = columns[2], next_b = columns[3];
    a0 = add_product(a0, a, weights[0]);
    b0 = add_product(b0, b, weights[0]);
    a1 = add_product(a1, a, weights[1]);
    b1 = add_product(b1, b, weights[1]);
    a0 = add_product(a0, next_a, weights[2]);
    b0 = add_product(b0, next_b, weights[2]);
    a1 = add_product(a1, next_a, weights[3]);
    b1 = add_product(b1, next_b, weights[3]);
  }
  sums[0] = (int32_t)a0;
  sums[1] = (int32_t)b0;
  sums[2] = (int32_t)a1;
  sums[3] = (int32_t)b1;
}

#if defined(__thumb2__) && !defined(__ARM_FEATURE_DSP)

/* The compiler keeps half of the eight sums in memory; here all are in registers. Armv7-M has as many as it takes when
 * the end of the columns is in memory.
 *
 * Registers: r0 columns, r1 weights, r2 and r3 a column, r4 to r11 sums, r12 and lr weights. Loads follow each other,
 * as only the first of a row takes two cycles. The loop is unrolled for four taps and entered in the middle when their
 * number is no multiple of four. */
/* clang-format off */
#define TAP(column, weight) \
  "ldr.w r2, [r0, #" #column "]\n" \
  "ldr.w r3, [r0, #" #column "+4]\n" \
  "ldrsb.w r12, [r1, #" #weight "]\n" \
  "ldrsb.w lr, [r1, #" #weight "+1]\n" \
  "mla r4, r2, r12, r4\n" \
  "mla r5, r3, r12, r5\n" \
  "mla r6, r2, lr, r6\n" \
  "mla r7, r3, lr, r7\n" \
  "ldrsb.w r12, [r1, #" #weight "+4]\n" \
  "ldrsb.w lr, [r1, #" #weight "+5]\n" \
  "mla r8, r2, r12, r8\n" \
  "mla r9, r3, r12, r9\n" \
  "mla r10, r2, lr, r10\n" \
  "mla r11, r3, lr, r11\n"

#define UNUSED __attribute__((unused))

__attribute__((naked)) void tinyopt_triples_dot_4(const int32_t *columns UNUSED, const int8_t *weights UNUSED,
                                                  int32_t pairs UNUSED, int32_t *sums UNUSED) {
  __asm__ volatile(
      ".syntax unified\n"
      "push {r3-r11, lr}\n"
      "add r12, r0, r2, lsl #4\n"
      "push {r12, lr}\n"
      "mov r4, #0\n"
      "mov r5, #0\n"
      "mov r6, #0\n"
      "mov r7, #0\n"
      "mov r8, #0\n"
      "mov r9, #0\n"
      "mov r10, #0\n"
      "mov r11, #0\n"
      "lsls r2, r2, #31\n"
      "beq 1f\n"
      "subs r0, r0, #16\n"
      "subs r1, r1, #8\n"
      "b 2f\n"
      ".balign 4\n"
      "1:\n"
      TAP(0, 0)
      TAP(8, 2)
      "2:\n"
      TAP(16, 8)
      TAP(24, 10)
      "ldr r12, [sp]\n"
      "adds r0, r0, #32\n"
      "adds r1, r1, #16\n"
      "cmp r0, r12\n"
      "bne.w 1b\n"
      "pop {r2, r3}\n"
      "pop {r3}\n"
      "stmia r3, {r4-r11}\n"
      "pop {r4-r11, pc}\n");
}
/* clang-format on */

#else

void tinyopt_triples_dot_4(const int32_t *columns, const int8_t *weights, int32_t pairs, int32_t *sums) {
  uint32_t a0 = 0, b0 = 0, a1 = 0, b1 = 0, a2 = 0, b2 = 0, a3 = 0, b3 = 0;
  for (const int32_t *end = columns + 4 * pairs; columns < end; columns += 4, weights += 8) {
    int32_t a = columns[0], b = columns[1], next_a = columns[2], next_b = columns[3];
    a0 = add_product(a0, a, weights[0]);
    b0 = add_product(b0, b, weights[0]);
    a1 = add_product(a1, a, weights[1]);
    b1 = add_product(b1, b, weights[1]);
    a2 = add_product(a2, a, weights[4]);
    b2 = add_product(b2, b, weights[4]);
    a3 = add_product(a3, a, weights[5]);
    b3 = add_product(b3, b, weights[5]);
    a0 = add_product(a0, next_a, weights[2]);
    b0 = add_product(b0, next_b, weights[2]);
    a1 = add_product(a1, next_a, weights[3]);
    b1 = add_product(b1, next_b, weights[3]);
    a2 = add_product(a2, next_a, weights[6]);
    b2 = add_product(b2, next_b, weights[6]);
    a3 = add_product(a3, next_a, weights[7]);
    b3 = add_product(b3, next_b, weights[7]);
  }
  sums[0] = (int32_t)a0;
  sums[1] = (int32_t)b0;
  sums[2] = (int32_t)a1;
  sums[3] = (int32_t)b1;
  sums[4] = (int32_t)a2;
  sums[5] = (int32_t)b2;
  sums[6] = (int32_t)a3;
  sums[7] = (int32_t)b3;
}

#endif

#endif
