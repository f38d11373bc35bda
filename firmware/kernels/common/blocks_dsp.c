#include "blocks_dsp.h"

#include "common.h"
#include "dsp.h"

void tinyopt_block_widen(const int8_t *patch, int32_t taps, int32_t pixels, uint32_t *columns) {
  for (; taps > 0; taps -= 4, patch += 4) {
    uint32_t word = taps >= 4 ? tinyopt_load_s8x4(patch) : tinyopt_load_s8_tail(patch, taps);
    *columns = tinyopt_sxtb16(word);
    columns += pixels;
    if (taps > 1) {
      *columns = tinyopt_sxtb16_ror8(word);
      columns += pixels;
    }
  }
}

void tinyopt_block_clamp(int8_t *output, int32_t count, int32_t low, int32_t high) {
  for (int32_t i = 0; i < count; ++i) {
    output[i] = (int8_t)tinyopt_clamp(output[i], low, high);
  }
}

void tinyopt_block_prepare(tinyopt_block *block, int32_t words, int32_t pixels) {
  int32_t ahead = (words - 1) & 7;                 /* words of a round that is not whole */
  int32_t skip = words == 1 ? 8 : (8 - ahead) & 7; /* words of the unrolled loop to leave out */
  block->enter = block->columns + pixels * (1 + ahead);
  block->end = block->columns + pixels * words;
  block->ahead = 4 * ahead;
  block->code = (8 + 12 * pixels) * skip + (skip > 0 ? 9 : 1);
}

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* Registers: r0 columns, r1 stream, r2 weights of both channels, r3 those of the low one, r4 to r11 sums (low and high
 * of each pixel; of four, the last has r4 and r5), r12 and lr activations.
 *
 * A pair's first word makes the sums from the bias. The loop over the other words is unrolled eight deep; its first
 * step moves the pointers past the round, and compares. A number of words that is no multiple of eight enters it in the
 * middle, with the pointers as the first step would leave them (none: at its end); all its instructions are four bytes,
 * so that the place is computed.
 *
 * tinyopt_block_prepare computes that place from the code here: 8 + 12 bytes a pixel for every word that is left out,
 * and 8 for the first step's comparison; bit 0 is that of an address of Thumb code.
 *
 * Frame: the block, with the address of the entry for its offset; 28 the byte before the next output. */
/* clang-format off */
#define BEGIN \
  ".syntax unified\n" \
  "push {r4-r11, lr}\n" \
  "ldmia r0, {r3-r9}\n" \
  "adr.w r0, 2f\n" \
  "sub r10, r2, #1\n" \
  "add r7, r7, r0\n" \
  "push {r3-r10}\n" \
  ".balign 4\n" \
  "1:\n" /* a pair of channels */ \
  "ldmia sp, {r0, r3, r6, r8, r12}\n" \
  "ldmia r1!, {r2, r4, r5}\n"

#define ENTER \
  "cmp r3, r6\n" \
  "add r1, r1, r8\n" \
  "mov r0, r3\n" \
  "sxtb16 r3, r2\n"

#define BEGIN_4 \
  BEGIN \
  "ldmia r0, {r7, r9, r11, lr}\n" \
  ENTER \
  "smlad r6, r7, r3, r4\n" \
  "smlad r7, r7, r2, r5\n" \
  "smlad r8, r9, r3, r4\n" \
  "smlad r9, r9, r2, r5\n" \
  "smlad r10, r11, r3, r4\n" \
  "smlad r11, r11, r2, r5\n" \
  "smlad r4, lr, r3, r4\n" \
  "smlad r5, lr, r2, r5\n" \
  "bx r12\n"

#define BEGIN_1 \
  BEGIN \
  "ldr lr, [r0]\n" \
  ENTER \
  "smlad r4, lr, r3, r4\n" \
  "smlad r5, lr, r2, r5\n" \
  "bx r12\n"

#define WORDS(step) \
  ".balign 4\n" "2:\n" step##_FIRST step(1) step(2) step(3) step(4) step(5) step(6) step(7) "bne.w 2b\n"

#define SUMS_4(at) \
  "sxtb16 r3, r2\n" \
  "smlad r7, r12, r2, r7\n" \
  "smlad r6, r12, r3, r6\n" \
  "smlad r8, lr, r3, r8\n" \
  "smlad r9, lr, r2, r9\n" \
  "ldr.w r12, [r0, #" at "+8]\n" \
  "ldr.w lr, [r0, #" at "+12]\n" \
  "smlad r10, r12, r3, r10\n" \
  "smlad r11, r12, r2, r11\n" \
  "smlad r5, lr, r2, r5\n" \
  "smlad r4, lr, r3, r4\n"

#define WORD_4(i) \
  "ldr.w r2, [r1, #" #i "*4-32]\n" \
  "ldr.w r12, [r0, #" #i "*16-128]\n" \
  "ldr.w lr, [r0, #" #i "*16-124]\n" \
  SUMS_4(#i "*16-128")

#define WORD_4_FIRST \
  "ldr.w r12, [r0], #128\n" \
  "ldr.w r2, [r1], #32\n" \
  "ldr.w lr, [r0, #-124]\n" \
  "ldr.w r3, [sp, #8]\n" \
  "cmp.w r0, r3\n" \
  SUMS_4("-128")

#define SUMS_1 \
  "sxtb16 r3, r2\n" \
  "smlad r5, r12, r2, r5\n" \
  "smlad r4, r12, r3, r4\n"

#define WORD_1(i) \
  "ldr.w r2, [r1, #" #i "*4-32]\n" \
  "ldr.w r12, [r0, #" #i "*4-32]\n" \
  SUMS_1

#define WORD_1_FIRST \
  "ldr.w r12, [r0], #32\n" \
  "ldr.w r2, [r1], #32\n" \
  "ldr.w r3, [sp, #8]\n" \
  "cmp.w r0, r3\n" \
  SUMS_1

/* The steps of requantization alternate between outputs: a core that issues two instructions at a time then has one that
 * shifts and one that does not, and waits for no result. Nothing pipelines behind a store, so other work follows every
 * one. */
#define DOUBLE_LOW(sum) "lsl " sum ", " sum ", #1\n"
#define DOUBLE_HIGH(sum) "asr " sum ", " sum ", #7\n"
#define HIGH_MULTIPLY(sum, multiplier) "smmulr " sum ", " sum ", " multiplier "\n"
#define ADD_SIGN(sum) "add " sum ", " sum ", " sum ", asr #31\n"
#define SHIFT(sum) "asr " sum ", " sum ", r0\n"
#define ADD_OFFSET(sum) "add " sum ", " sum ", lr\n"
#define SATURATE_HALF(sum) "ssat " sum ", #8, " sum ", asr #1\n"
#define SATURATE(sum) "ssat " sum ", #8, " sum "\n"
#define SUBTRACT_LOW(low, high) "sub " high ", " high ", " low "\n"

#define REQUANTIZE(sum, multiplier) \
  HIGH_MULTIPLY(sum, multiplier) ADD_SIGN(sum) SHIFT(sum) ADD_OFFSET(sum) SATURATE_HALF(sum)
#define SHIFT_4(a, b, c, d) \
  ADD_SIGN(a) ADD_SIGN(b) ADD_SIGN(c) ADD_SIGN(d) \
  SHIFT(a) SHIFT(b) ADD_OFFSET(a) SHIFT(c) ADD_OFFSET(b) SHIFT(d) ADD_OFFSET(c) \
  SATURATE_HALF(a)

#define SCALES \
  "ldmia r1!, {r2, r3, r12}\n" \
  "ldr lr, [sp, #20]\n"
#define OUTPUTS(output, stride) /* r12: shifts */ \
  "lsls r12, r12, #1\n" /* carry: the last pair; negative: it has no high channel */ \
  "ldrd " stride ", " output ", [sp, #24]\n"
#define KEEP(output) "str " output ", [sp, #28]\n"
#define NEXT \
  "bcc.w 1b\n" \
  "3:\n" \
  "add sp, sp, #32\n" \
  "pop {r4-r11, pc}\n"

/* Outputs at the zero point or above: r0 shifts, r2 multiplier, r3 output, r12 offset, lr stride. */
#define SCALE_LOW(sum) "lsl " sum ", " sum ", r0\n"
#define SATURATE_LOW(sum) "ssat " sum ", #8, " sum ", asr #15\n"
#define MULTIPLY_RELU(sum) "smmla " sum ", " sum ", r2, r12\n"
#define SCALES_RELU \
  "ldmia r1!, {r0, r2, r12}\n" \
  "ldrd lr, r3, [sp, #24]\n"
#define HIGH_SCALES_RELU /* ends the work where there is no high channel */ \
  "lsls r2, r0, #1\n" /* carry: the last pair; negative: it has no high channel */ \
  "bmi 3f\n" \
  "lsr r0, r0, #16\n" \
  "ldmia r1!, {r2, r12}\n"

#define UNUSED __attribute__((unused))

/* r0, r2, r12, lr even taps, r1 columns, r3 words left of the run, r4 to r7 pixels, r8 to r11 data.
 * Frame: 0 words of a run, 4 runs left, 8 from the end of a run to the next. */
__attribute__((naked)) void tinyopt_block_widen_4(const int8_t *const from[4] UNUSED, uint32_t *columns UNUSED,
                                                  int32_t words UNUSED, int32_t runs UNUSED, int32_t step UNUSED) {
  __asm__ volatile(
      ".syntax unified\n"
      "push {r4-r11, lr}\n"
      "ldr r12, [sp, #36]\n"
      "sub sp, sp, #12\n"
      "ldmia r0, {r4-r7}\n"
      "add r0, r2, #1\n"
      "bic r0, r0, #1\n"
      "sub r12, r12, r0, lsl #1\n"
      "strd r2, r3, [sp]\n"
      "str r12, [sp, #8]\n"
      "1:\n"
      "ldr r3, [sp]\n"
      ".balign 4\n"
      "2:\n"
      "ldr r8, [r4], #4\n"
      "ldr r9, [r5], #4\n"
      "ldr r10, [r6], #4\n"
      "ldr r11, [r7], #4\n"
      "subs r3, r3, #2\n"
      "sxtb16 r0, r8\n"
      "sxtb16 r2, r9\n"
      "sxtb16 r12, r10\n"
      "sxtb16 lr, r11\n"
      "stmia r1!, {r0, r2, r12, lr}\n"
      "bmi 3f\n"
      "sxtb16 r8, r8, ror #8\n"
      "sxtb16 r9, r9, ror #8\n"
      "sxtb16 r10, r10, ror #8\n"
      "sxtb16 r11, r11, ror #8\n"
      "stmia r1!, {r8-r11}\n"
      "bne 2b\n"
      "3:\n"
      "ldrd r0, r2, [sp, #4]\n"
      "add r4, r4, r2\n"
      "add r5, r5, r2\n"
      "add r6, r6, r2\n"
      "add r7, r7, r2\n"
      "subs r0, r0, #1\n"
      "str r0, [sp, #4]\n"
      "bne 1b\n"
      "add sp, sp, #12\n"
      "pop {r4-r11, pc}\n");
}

__attribute__((naked)) void tinyopt_block_4(const tinyopt_block *block UNUSED, const uint32_t *stream UNUSED,
                                            int8_t *output UNUSED) {
  __asm__ volatile(
      BEGIN_4
      WORDS(WORD_4)
      SCALES
      SUBTRACT_LOW("r6", "r7")
      DOUBLE_LOW("r6")
      SUBTRACT_LOW("r8", "r9")
      "uxtb r0, r12\n"
      HIGH_MULTIPLY("r6", "r2")
      DOUBLE_LOW("r8")
      SUBTRACT_LOW("r10", "r11")
      HIGH_MULTIPLY("r8", "r2")
      DOUBLE_LOW("r10")
      SUBTRACT_LOW("r4", "r5")
      HIGH_MULTIPLY("r10", "r2")
      DOUBLE_LOW("r4")
      HIGH_MULTIPLY("r4", "r2")
      SHIFT_4("r6", "r8", "r10", "r4")
      ADD_OFFSET("r4")
      SATURATE_HALF("r8")
      SATURATE_HALF("r10")
      SATURATE_HALF("r4")
      DOUBLE_HIGH("r7")
      "ubfx r0, r12, #16, #8\n"
      HIGH_MULTIPLY("r7", "r3")
      OUTPUTS("r2", "r12")
      DOUBLE_HIGH("r9")
      "strb r6, [r2, #1]!\n"
      HIGH_MULTIPLY("r9", "r3")
      DOUBLE_HIGH("r11")
      "strb r8, [r2, r12]\n"
      HIGH_MULTIPLY("r11", "r3")
      "add r6, r2, r12, lsl #1\n"
      DOUBLE_HIGH("r5")
      "strb r10, [r6]\n"
      HIGH_MULTIPLY("r5", "r3")
      "strb r4, [r6, r12]\n"
      "bmi 3f\n"
      SHIFT_4("r7", "r9", "r11", "r5")
      "strb r7, [r2, #1]!\n"
      SATURATE_HALF("r9")
      "strb r9, [r2, r12]\n"
      ADD_OFFSET("r5")
      KEEP("r2")
      SATURATE_HALF("r11")
      "strb r11, [r6, #1]!\n"
      SATURATE_HALF("r5")
      "strb r5, [r6, r12]\n"
      NEXT);
}

__attribute__((naked)) void tinyopt_block_1(const tinyopt_block *block UNUSED, const uint32_t *stream UNUSED,
                                            int8_t *output UNUSED) {
  __asm__ volatile(
      BEGIN_1
      WORDS(WORD_1)
      SCALES
      SUBTRACT_LOW("r4", "r5")
      "uxtb r0, r12\n"
      DOUBLE_LOW("r4")
      REQUANTIZE("r4", "r2")
      "ubfx r0, r12, #16, #8\n"
      DOUBLE_HIGH("r5")
      REQUANTIZE("r5", "r3")
      OUTPUTS("r0", "r2")
      "strb r4, [r0, #1]!\n"
      "bmi 3f\n"
      "strb r5, [r0, #1]!\n"
      KEEP("r0")
      NEXT);
}

__attribute__((naked)) void tinyopt_block_4_relu(const tinyopt_block *block UNUSED, const uint32_t *stream UNUSED,
                                                 int8_t *output UNUSED) {
  __asm__ volatile(
      BEGIN_4
      WORDS(WORD_4)
      SCALES_RELU
      SUBTRACT_LOW("r6", "r7")
      SCALE_LOW("r6")
      SUBTRACT_LOW("r8", "r9")
      SCALE_LOW("r8")
      SUBTRACT_LOW("r10", "r11")
      MULTIPLY_RELU("r6")
      SCALE_LOW("r10")
      MULTIPLY_RELU("r8")
      SUBTRACT_LOW("r4", "r5")
      SATURATE_LOW("r6")
      SCALE_LOW("r4")
      MULTIPLY_RELU("r10")
      "strb r6, [r3, #1]!\n"
      SATURATE_LOW("r8")
      MULTIPLY_RELU("r4")
      "add r6, r3, lr, lsl #1\n"
      "strb r8, [r3, lr]\n"
      SATURATE_LOW("r10")
      "strb r10, [r6]\n"
      SATURATE_LOW("r4")
      "strb r4, [r6, lr]\n"
      HIGH_SCALES_RELU
      MULTIPLY_RELU("r7")
      MULTIPLY_RELU("r9")
      SHIFT("r7")
      MULTIPLY_RELU("r11")
      SHIFT("r9")
      MULTIPLY_RELU("r5")
      SATURATE("r7")
      "strb r7, [r3, #1]!\n"
      SHIFT("r11")
      SATURATE("r9")
      "strb r9, [r3, lr]\n"
      SHIFT("r5")
      KEEP("r3")
      SATURATE("r11")
      "strb r11, [r6, #1]!\n"
      SATURATE("r5")
      "strb r5, [r6, lr]\n"
      NEXT);
}

__attribute__((naked)) void tinyopt_block_1_relu(const tinyopt_block *block UNUSED, const uint32_t *stream UNUSED,
                                                 int8_t *output UNUSED) {
  __asm__ volatile(
      BEGIN_1
      WORDS(WORD_1)
      SCALES_RELU
      SUBTRACT_LOW("r4", "r5")
      SCALE_LOW("r4")
      MULTIPLY_RELU("r4")
      SATURATE_LOW("r4")
      "strb r4, [r3, #1]!\n"
      HIGH_SCALES_RELU
      MULTIPLY_RELU("r5")
      SHIFT("r5")
      SATURATE("r5")
      "strb r5, [r3, #1]!\n"
      KEEP("r3")
      NEXT);
}
/* clang-format on */

#else /* the same computation in C, for tests on other machines */

#define LAST_PAIR 0x80000000u /* in the shifts */
#define NO_HIGH 0x40000000u

void tinyopt_block_widen_4(const int8_t *const from[4], uint32_t *columns, int32_t words, int32_t runs, int32_t step) {
  for (int32_t run = 0; run < runs; ++run) {
    for (int32_t word = 0; word < words; ++word, columns += 4) {
      for (int32_t pixel = 0; pixel < 4; ++pixel) {
        uint32_t four = tinyopt_load_s8x4(from[pixel] + run * step + 4 * (word / 2));
        columns[pixel] = word & 1 ? tinyopt_sxtb16_ror8(four) : tinyopt_sxtb16(four);
      }
    }
  }
}

/* The sums over the low and the high channel of one pixel, the high one times 256. `columns`: the pixel's first. */
static void sum_pair(int32_t words, const uint32_t *columns, int32_t pixels, const uint32_t *stream, int32_t *low,
                     int32_t *high) {
  *low = (int32_t)stream[1];
  *high = (int32_t)stream[2];
  for (int32_t i = 0; i < words; ++i, columns += pixels) {
    uint32_t weights = stream[i == 0 ? 0 : i + 2];
    *low = tinyopt_smlad(*columns, tinyopt_sxtb16(weights), *low);
    *high = tinyopt_smlad(*columns, weights, *high);
  }
  *high = (int32_t)((uint32_t)*high - (uint32_t)*low);
}

static void compute_block(const tinyopt_block *block, const uint32_t *stream, int8_t *output, int32_t pixels) {
  int32_t words = (int32_t)(block->end - block->columns) / pixels;
  for (uint32_t shifts = 0; shifts < LAST_PAIR; output += 2) {
    const uint32_t *scales = stream + 2 + words;
    shifts = scales[2];
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
      int8_t *out = output + pixel * block->stride;
      int32_t low;
      int32_t high;
      sum_pair(words, block->columns + pixel, pixels, stream, &low, &high);
      out[0] = tinyopt_requantize_doubled_s8((int32_t)((uint32_t)low << 1), (int32_t)scales[0],
                                             (int32_t)(shifts & 255u), block->offset);
      if (!(shifts & NO_HIGH)) {
        out[1] = tinyopt_requantize_doubled_s8(high >> 7, (int32_t)scales[1], (int32_t)((shifts >> 16) & 255u),
                                               block->offset);
      }
    }
    stream = scales + 3;
  }
}

/* SMMLA, a shift and SSAT. sum: times a power of two */
static int8_t finish_relu(int32_t sum, const uint32_t *scale, uint32_t shift) {
  int32_t value = ((int32_t)(((int64_t)sum * (int32_t)scale[0]) >> 32) + (int32_t)scale[1]) >> (shift & 255u);
  return (int8_t)tinyopt_clamp(value, INT8_MIN, INT8_MAX);
}

static void compute_block_relu(const tinyopt_block *block, const uint32_t *stream, int8_t *output, int32_t pixels) {
  int32_t words = (int32_t)(block->end - block->columns) / pixels;
  for (uint32_t shifts = 0; shifts < LAST_PAIR; output += 2) {
    const uint32_t *scales = stream + 2 + words;
    shifts = scales[0];
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
      int8_t *out = output + pixel * block->stride;
      int32_t low;
      int32_t high;
      sum_pair(words, block->columns + pixel, pixels, stream, &low, &high);
      out[0] = finish_relu((int32_t)((uint32_t)low << (shifts & 255u)), scales + 1, 15);
      if (!(shifts & NO_HIGH)) {
        out[1] = finish_relu(high, scales + 3, shifts >> 16);
      }
    }
    stream = scales + 5;
  }
}

void tinyopt_block_4(const tinyopt_block *block, const uint32_t *stream, int8_t *output) {
  compute_block(block, stream, output, 4);
}

void tinyopt_block_1(const tinyopt_block *block, const uint32_t *stream, int8_t *output) {
  compute_block(block, stream, output, 1);
}

void tinyopt_block_4_relu(const tinyopt_block *block, const uint32_t *stream, int8_t *output) {
  compute_block_relu(block, stream, output, 4);
}

void tinyopt_block_1_relu(const tinyopt_block *block, const uint32_t *stream, int8_t *output) {
  compute_block_relu(block, stream, output, 1);
}

#endif
