#include "blocks_mve.h"
#include "mve.h"

#if TINYOPT_HAS_MVE

/* Registers: r1 stream, r3 and r5 activations, r7 vectors left, r9 runs left, r11 block; sums of the first pixel in r0,
 * r2, r4, r6, of the second in r8, r10, r12, lr; q0 and q1 activations, q2 and q3 weights, q4 and q5 limits.
 *
 * Loads and products alternate, because a core with a wide pipeline then overlaps them. */
/* clang-format off */
#define VECTOR(product) \
  "vldrb.u8 q0, [r3], #16\n" \
  "vldrb.u8 q2, [r1], #16\n" \
  product " r0, q0, q2\n" \
  "vldrb.u8 q1, [r5], #16\n" \
  product " r8, q1, q2\n" \
  "vldrb.u8 q3, [r1], #16\n" \
  product " r2, q0, q3\n" \
  "vldrb.u8 q2, [r1], #16\n" \
  product " r10, q1, q3\n" \
  product " r4, q0, q2\n" \
  "vldrb.u8 q3, [r1], #16\n" \
  product " r12, q1, q2\n" \
  product " r6, q0, q3\n" \
  product " lr, q1, q3\n"

void tinyopt_block_mve_2(tinyopt_block_mve *block, const int8_t *stream) {
  register tinyopt_block_mve *fields __asm__("r11") = block;
  register const int8_t *weights __asm__("r1") = stream;
  __asm__ volatile(
      "ldrd r3, r5, [r11, #36]\n"
      "vdup.32 q4, r3\n"
      "vdup.32 q5, r5\n"
      "1:\n" /* four channels */
      "ldrd r3, r5, [r11]\n"
      "ldrd r7, r9, [r11, #8]\n"
      VECTOR("vmladav.s8")
      "subs r7, r7, #1\n"
      "beq 3f\n"
      "2:\n"
      VECTOR("vmladava.s8")
      "subs r7, r7, #1\n"
      "bne 2b\n"
      "3:\n"
      "subs r9, r9, #1\n"
      "beq 4f\n"
      "ldr r7, [r11, #16]\n"
      "add r3, r3, r7\n"
      "add r5, r5, r7\n"
      "ldr r7, [r11, #8]\n"
      "b 2b\n"
      "4:\n"
      "vmov q0[2], q0[0], r0, r4\n"
      "vmov q0[3], q0[1], r2, r6\n"
      "vldrw.u32 q2, [r1], #16\n"
      "vmov q1[2], q1[0], r8, r12\n"
      "vmov q1[3], q1[1], r10, lr\n"
      "vldrw.u32 q3, [r1], #16\n"
      "vadd.i32 q0, q0, q2\n"
      "vadd.i32 q1, q1, q2\n"
      "vqrdmulh.s32 q0, q0, q3\n"
      "vqrdmulh.s32 q1, q1, q3\n"
      "vldrw.u32 q2, [r1], #16\n"
      "vshr.s32 q3, q0, #31\n" /* ties away from zero: a negative value is lowered by one, then ties go up */
      "vadd.i32 q0, q0, q3\n"
      "vshr.s32 q3, q1, #31\n"
      "vadd.i32 q1, q1, q3\n"
      "vrshl.s32 q0, q0, q2\n"
      "ldr r0, [r11, #32]\n"
      "vrshl.s32 q1, q1, q2\n"
      "ldrd r2, r4, [r11, #24]\n"
      "vadd.i32 q0, q0, r0\n"
      "vadd.i32 q1, q1, r0\n"
      "ldr r6, [r11, #20]\n"
      "vmax.s32 q0, q0, q4\n"
      "vmax.s32 q1, q1, q4\n"
      "vmin.s32 q0, q0, q5\n"
      "vmin.s32 q1, q1, q5\n"
      "vctp.32 r6\n"
      "vpstt\n"
      "vstrbt.32 q0, [r2], #4\n"
      "vstrbt.32 q1, [r4], #4\n"
      "subs r6, r6, #4\n"
      "strd r2, r4, [r11, #24]\n"
      "str r6, [r11, #20]\n"
      "bgt 1b\n"
      : "+r"(weights)
      : "r"(fields)
      : "r0", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r12", "lr", "q0", "q1", "q2", "q3", "q4", "q5",
        "cc", "memory");
}
/* clang-format on */

#else /* the same computation in C, for tests on other machines */

static int32_t dot(const tinyopt_block_mve *block, const int8_t *x, const int8_t *weights) {
  uint32_t sum = 0;
  for (int32_t run = 0; run < block->runs; ++run, x += block->skip) {
    for (int32_t vector = 0; vector < block->vectors; ++vector, weights += 64) {
      for (int32_t i = 0; i < 16; ++i) {
        sum += (uint32_t)(*x++ * weights[i]);
      }
    }
  }
  return (int32_t)sum;
}

void tinyopt_block_mve_2(tinyopt_block_mve *block, const int8_t *stream) {
  for (; block->channels > 0; block->channels -= 4, block->first_output += 4, block->second_output += 4) {
    const int8_t *weights = stream;
    stream += 64 * block->runs * block->vectors;
    int32_t tail[12]; /* biases, multipliers, shifts */
    memcpy(tail, stream, sizeof tail);
    stream += sizeof tail;
    for (int32_t lane = 0; lane < tinyopt_min(4, block->channels); ++lane) {
      int32_t first = tinyopt_mac(dot(block, block->first, weights + 16 * lane), tail[lane], 1);
      int32_t second = tinyopt_mac(dot(block, block->second, weights + 16 * lane), tail[lane], 1);
      block->first_output[lane] =
          tinyopt_requantize_s8(first, tail[4 + lane], tail[8 + lane], block->zero_point, block->low, block->high);
      block->second_output[lane] =
          tinyopt_requantize_s8(second, tail[4 + lane], tail[8 + lane], block->zero_point, block->low, block->high);
    }
  }
}

#endif
