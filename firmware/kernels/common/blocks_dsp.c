#include "blocks_dsp.h"

#include "common.h"
#include "dsp.h"

void tinyopt_block_widen(const int8_t *patch, int32_t taps, int32_t pixels, uint32_t *columns) {
  for (; taps >= 4; taps -= 4, patch += 4, columns += 2 * pixels) {
    uint32_t word = tinyopt_load_s8x4(patch);
    columns[0] = tinyopt_sxtb16(word);
    columns[pixels] = tinyopt_sxtb16_ror8(word);
  }
  if (taps > 0) {
    uint32_t word = tinyopt_load_s8_tail(patch, taps);
    columns[0] = tinyopt_sxtb16(word);
    columns[pixels] = tinyopt_sxtb16_ror8(word);
  }
}

void tinyopt_block_clamp(int8_t *output, int32_t count, int32_t low, int32_t high) {
  for (int32_t i = 0; i < count; ++i) {
    output[i] = (int8_t)tinyopt_clamp(output[i], low, high);
  }
}

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* Registers: r0 columns, r1 stream, r2 weights of both channels, r3 those of the low one, r4 to r11 sums (low and high
 * of each pixel), r12 and lr activations.
 *
 * The loop over taps is unrolled four groups deep. A number of groups that is no multiple of four enters it in the
 * middle, with the pointers moved back accordingly; all its instructions are four bytes, so that the place is computed.
 *
 * Frame: 0 columns at the entry, 4 address of the entry, 8 bytes the stream is moved back, 12 end of the columns,
 * 16 channels left, 20 output, 24 stride, 28 offset. */
/* clang-format off */
#define BEGIN(bytes_per_group, code_per_group) \
  ".syntax unified\n" \
  "push {r4-r11, lr}\n" \
  "sub sp, sp, #36\n" \
  "ldmia r0, {r3-r7}\n" \
  "str r5, [sp, #16]\n" \
  "strd r2, r6, [sp, #20]\n" \
  "str r7, [sp, #28]\n" \
  "mov r8, #" #bytes_per_group "\n" \
  "mla r9, r8, r4, r3\n" \
  "str r9, [sp, #12]\n" \
  "rsb r4, r4, #0\n" \
  "and r4, r4, #3\n" /* groups to skip */ \
  "mls r3, r8, r4, r3\n" \
  "mov r8, #" #code_per_group "\n" \
  "adr.w r9, 2f\n" \
  "mla r9, r8, r4, r9\n" \
  "orr r9, r9, #1\n" \
  "strd r3, r9, [sp, #0]\n" \
  "lsl r4, r4, #3\n" \
  "str r4, [sp, #8]\n" \
  "1:\n" /* a pair of channels */ \
  "ldr r0, [sp, #0]\n" \
  "ldr r12, [sp, #4]\n" \
  "ldr r3, [sp, #8]\n" \
  "ldmia r1!, {r4, r5}\n" \
  "sub r1, r1, r3\n"

/* After the unrolled taps: next round, or fetch what requantization needs. */
#define ROUND(bytes) \
  "adds r0, r0, #" #bytes "\n" \
  "ldr r2, [sp, #12]\n" \
  "adds r1, r1, #32\n" \
  "cmp r0, r2\n" \
  "bne.w 2b\n" \
  "ldmia r1!, {r2, r3, r12}\n" \
  "ldr lr, [sp, #28]\n"

#define REQUANTIZE(sum, multiplier) \
  "smmulr " sum ", " sum ", " multiplier "\n" \
  "add " sum ", " sum ", " sum ", asr #31\n" \
  "asr " sum ", " sum ", r0\n" \
  "add " sum ", " sum ", lr\n" \
  "ssat " sum ", #8, " sum ", asr #1\n"
#define LOW(sum) "lsl " sum ", " sum ", #1\n" REQUANTIZE(sum, "r2")
#define HIGH(sum) "asr " sum ", " sum ", #7\n" REQUANTIZE(sum, "r3")

#define OUTPUTS \
  "ldr r3, [sp, #16]\n" \
  "ldrd r0, r2, [sp, #20]\n" \
  "subs r3, r3, #2\n"
#define NEXT \
  "adds r0, r0, #1\n" \
  "str r3, [sp, #16]\n" \
  "str r0, [sp, #20]\n" \
  "cmp r3, #0\n" \
  "bne.w 1b\n" \
  "3:\n" \
  "add sp, sp, #36\n" \
  "pop {r4-r11, pc}\n"

#define EIGHT(taps) ".balign 4\n" "2:\n" taps(0) taps(1) taps(2) taps(3) taps(4) taps(5) taps(6) taps(7)

#define TAPS_4(i) \
  "ldr.w r2, [r1, #" #i "*4]\n" \
  "ldr.w r12, [r0, #" #i "*16]\n" \
  "ldr.w lr, [r0, #" #i "*16+4]\n" \
  "sxtb16 r3, r2\n" \
  "smlad r4, r12, r3, r4\n" \
  "smlad r5, r12, r2, r5\n" \
  "smlad r6, lr, r3, r6\n" \
  "smlad r7, lr, r2, r7\n" \
  "ldr.w r12, [r0, #" #i "*16+8]\n" \
  "ldr.w lr, [r0, #" #i "*16+12]\n" \
  "smlad r8, r12, r3, r8\n" \
  "smlad r9, r12, r2, r9\n" \
  "smlad r10, lr, r3, r10\n" \
  "smlad r11, lr, r2, r11\n"

#define TAPS_1(i) \
  "ldr.w r2, [r1, #" #i "*4]\n" \
  "ldr.w r12, [r0, #" #i "*4]\n" \
  "sxtb16 r3, r2\n" \
  "smlad r4, r12, r3, r4\n" \
  "smlad r5, r12, r2, r5\n"

#define UNUSED __attribute__((unused))

/* r0 run, r1 columns, r2 words, r3 runs left, r4 input, r5 words left, r6 to r10 data, r11 step. A store is followed by
 * something else than an access where there is anything else to do: nothing pipelines behind a store. */
__attribute__((naked)) void tinyopt_block_widen_runs(const int8_t *from UNUSED, uint32_t *columns UNUSED,
                                                     int32_t words UNUSED, int32_t runs UNUSED, int32_t step UNUSED) {
  __asm__ volatile(
      ".syntax unified\n"
      "push {r4-r11, lr}\n"
      "ldr r11, [sp, #36]\n"
      "1:\n"
      "mov r4, r0\n"
      "subs r5, r2, #4\n"
      "add r0, r0, r11\n"
      "blt 3f\n"
      ".balign 4\n"
      "2:\n"
      "ldr.w r6, [r4]\n"
      "ldr.w r7, [r4, #4]\n"
      "ldr.w r8, [r4, #8]\n"
      "ldr.w r9, [r4, #12]\n"
      "sxtb16 r10, r6\n"
      "sxtb16 r6, r6, ror #8\n"
      "str.w r10, [r1]\n"
      "sxtb16 r10, r7\n"
      "str.w r6, [r1, #16]\n"
      "sxtb16 r7, r7, ror #8\n"
      "str.w r10, [r1, #32]\n"
      "sxtb16 r10, r8\n"
      "str.w r7, [r1, #48]\n"
      "sxtb16 r8, r8, ror #8\n"
      "str.w r10, [r1, #64]\n"
      "sxtb16 r10, r9\n"
      "str.w r8, [r1, #80]\n"
      "sxtb16 r9, r9, ror #8\n"
      "str.w r10, [r1, #96]\n"
      "adds r4, r4, #16\n"
      "str.w r9, [r1, #112]\n"
      "adds r1, r1, #128\n"
      "subs r5, r5, #4\n"
      "bge 2b\n"
      "3:\n"
      "adds r5, r5, #4\n"
      "beq 5f\n"
      "4:\n"
      "ldr r6, [r4]\n"
      "adds r4, r4, #4\n"
      "sxtb16 r10, r6\n"
      "sxtb16 r6, r6, ror #8\n"
      "str.w r10, [r1]\n"
      "subs r5, r5, #1\n"
      "str r6, [r1, #16]\n"
      "add r1, r1, #32\n"
      "bne 4b\n"
      "5:\n"
      "subs r3, r3, #1\n"
      "bne 1b\n"
      "pop {r4-r11, pc}\n");
}

__attribute__((naked)) void tinyopt_block_4(const tinyopt_block *block UNUSED, const uint32_t *stream UNUSED,
                                            int8_t *output UNUSED) {
  __asm__ volatile(
      BEGIN(32, 112)
      "mov r6, r4\n"
      "mov r7, r5\n"
      "mov r8, r4\n"
      "mov r9, r5\n"
      "mov r10, r4\n"
      "mov r11, r5\n"
      "bx r12\n"
      EIGHT(TAPS_4)
      ROUND(128)
      "sub r5, r5, r4\n"
      "sub r7, r7, r6\n"
      "sub r9, r9, r8\n"
      "sub r11, r11, r10\n"
      "uxtb r0, r12\n"
      LOW("r4") LOW("r6") LOW("r8") LOW("r10")
      "lsr r0, r12, #16\n"
      HIGH("r5") HIGH("r7") HIGH("r9") HIGH("r11")
      OUTPUTS
      "add r12, r0, r2, lsl #1\n"
      "strb r4, [r0]\n"
      "strb r6, [r0, r2]\n"
      "strb r8, [r12]\n"
      "strb r10, [r12, r2]\n"
      "bmi 3f\n"
      "adds r0, r0, #1\n"
      "add r12, r12, #1\n"
      "strb r5, [r0]\n"
      "strb r7, [r0, r2]\n"
      "strb r9, [r12]\n"
      "strb r11, [r12, r2]\n"
      NEXT);
}

__attribute__((naked)) void tinyopt_block_1(const tinyopt_block *block UNUSED, const uint32_t *stream UNUSED,
                                            int8_t *output UNUSED) {
  __asm__ volatile(
      BEGIN(8, 40)
      "bx r12\n"
      EIGHT(TAPS_1)
      ROUND(32)
      "sub r5, r5, r4\n"
      "uxtb r0, r12\n"
      LOW("r4")
      "lsr r0, r12, #16\n"
      HIGH("r5")
      OUTPUTS
      "strb r4, [r0]\n"
      "bmi 3f\n"
      "adds r0, r0, #1\n"
      "strb r5, [r0]\n"
      NEXT);
}
/* clang-format on */

#else /* the same computation in C, for tests on other machines */

void tinyopt_block_widen_runs(const int8_t *from, uint32_t *columns, int32_t words, int32_t runs, int32_t step) {
  for (; runs > 0; --runs, from += step, columns += 8 * words) {
    tinyopt_block_widen(from, 4 * words, 4, columns);
  }
}

static int8_t finish(int32_t doubled, uint32_t multiplier, uint32_t right, const tinyopt_block *block) {
  return tinyopt_requantize_doubled_s8(doubled, (int32_t)multiplier, (int32_t)right, block->offset);
}

static void compute_block(const tinyopt_block *block, const uint32_t *stream, int8_t *output, int32_t pixels) {
  for (int32_t channel = 0; channel < block->channels; channel += 2) {
    const uint32_t *weights = stream + 2;
    const uint32_t *scales = weights + 2 * block->groups;
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
      int32_t low = (int32_t)stream[0];
      int32_t high = (int32_t)stream[1];
      for (int32_t i = 0; i < 2 * block->groups; ++i) {
        uint32_t x = block->columns[i * pixels + pixel];
        low = tinyopt_smlad(x, tinyopt_sxtb16(weights[i]), low);
        high = tinyopt_smlad(x, weights[i], high);
      }
      int8_t *out = output + pixel * block->stride + channel;
      high = (int32_t)((uint32_t)high - (uint32_t)low);
      out[0] = finish((int32_t)((uint32_t)low << 1), scales[0], scales[2] & 255u, block);
      if (channel + 1 < block->channels) {
        out[1] = finish(high >> 7, scales[1], scales[2] >> 16, block);
      }
    }
    stream = scales + 3;
  }
}

void tinyopt_block_4(const tinyopt_block *block, const uint32_t *stream, int8_t *output) {
  compute_block(block, stream, output, 4);
}

void tinyopt_block_1(const tinyopt_block *block, const uint32_t *stream, int8_t *output) {
  compute_block(block, stream, output, 1);
}

#endif
