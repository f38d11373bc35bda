/* Fully connected layer with the Arm DSP extension, eight outputs at a time, reading the input as it is.
 *
 * The stream of words holds, per eight outputs: for each of four pairs (low, high) the bias of low and the bias of low
 * + 256 * bias of high; per four inputs k, for taps (k, k+2), then for taps (k+1, k+3), a word of every pair, whose
 * halves are 256 * weight of high + weight of low; for each pair its two multipliers and its shifts. See blocks_dsp.h
 * for why. */
#include "dsp.h"
#include "fully_connected_s8.h"

typedef struct {
  const int8_t *input;
  int32_t input_size; /* a multiple of four */
  int32_t blocks;     /* of eight outputs */
  int32_t offset;     /* 2 * output zero point + 1 */
} row_t;

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* Registers: r0 input, r1 stream, r2 two inputs, r3 and r12 weights of two pairs, lr those of a low output, r4 to r11
 * sums (low and high of each pair). Frame: 0 input, 4 its end, 8 blocks left, 12 output, 16 offset. */
/* clang-format off */
/* The order is for cores that issue two instructions at a time: a load or an unpacking beside every product. One at a
 * time it costs the same. */
#define UNPACK(weights) "sxtb16 lr, " weights "\n"
#define ADD_HIGH(weights, high) "smlad " high ", r2, " weights ", " high "\n"
#define ADD_LOW(low) "smlad " low ", r2, lr, " low "\n"

#define TAPS(input, unpack, at) \
  "ldr.w r2, [r0, #" #input "]\n" \
  "ldr.w r3, [r1, #" #at "]\n" \
  "ldr.w r12, [r1, #" #at "+4]\n" \
  unpack \
  UNPACK("r3") ADD_HIGH("r3", "r5") ADD_LOW("r4") \
  UNPACK("r12") ADD_HIGH("r12", "r7") ADD_LOW("r6") \
  "ldr.w r3, [r1, #" #at "+8]\n" \
  "ldr.w r12, [r1, #" #at "+12]\n" \
  UNPACK("r3") ADD_HIGH("r3", "r9") ADD_LOW("r8") \
  UNPACK("r12") ADD_HIGH("r12", "r11") ADD_LOW("r10")

#define FINISH(low, high) \
  "ldmia r1!, {r2, r3, r12}\n" \
  "sub " high ", " high ", " low "\n" \
  "lsl " low ", " low ", #1\n" \
  "smmulr " low ", " low ", r2\n" \
  "asr " high ", " high ", #7\n" \
  "smmulr " high ", " high ", r3\n" \
  "uxtb r0, r12\n" \
  "add " low ", " low ", " low ", asr #31\n" \
  "lsr r12, r12, #16\n" \
  "asr " low ", " low ", r0\n" \
  "add " high ", " high ", " high ", asr #31\n" \
  "add " low ", " low ", lr\n" \
  "asr " high ", " high ", r12\n" \
  "ssat " low ", #8, " low ", asr #1\n" \
  "add " high ", " high ", lr\n" \
  "ssat " high ", #8, " high ", asr #1\n"

__attribute__((naked, noinline)) static void multiply_row(const row_t *row __attribute__((unused)),
                                                          const uint32_t *stream __attribute__((unused)),
                                                          int8_t *output __attribute__((unused))) {
  __asm__ volatile(
      ".syntax unified\n"
      "push {r4-r11, lr}\n"
      "sub sp, sp, #20\n"
      "ldmia r0, {r3-r5, r12}\n"
      "add r4, r4, r3\n"
      "stmia sp, {r3-r5}\n"
      "strd r2, r12, [sp, #12]\n"
      "1:\n"
      "ldmia r1!, {r4-r11}\n"
      "ldr r2, [sp, #4]\n"
      "ldr r0, [sp, #0]\n"
      "sub r2, r2, r0\n"
      "lsls r2, r2, #29\n" /* negative when the size is 8 k + 4: enter in the middle */
      "bpl 2f\n"
      "subs r0, r0, #4\n"
      "subs r1, r1, #32\n"
      "b 3f\n"
      ".balign 4\n"
      "2:\n"
      TAPS(0, "sxtb16 r2, r2\n", 0)
      TAPS(0, "sxtb16 r2, r2, ror #8\n", 16)
      "3:\n"
      TAPS(4, "sxtb16 r2, r2\n", 32)
      TAPS(4, "sxtb16 r2, r2, ror #8\n", 48)
      "adds r0, r0, #8\n"
      "ldr r2, [sp, #4]\n"
      "adds r1, r1, #64\n"
      "cmp r0, r2\n"
      "bne.w 2b\n"
      "ldr lr, [sp, #16]\n"
      FINISH("r4", "r5")
      FINISH("r6", "r7")
      FINISH("r8", "r9")
      FINISH("r10", "r11")
      "ldrd r3, r2, [sp, #8]\n"
      "bfi r4, r5, #8, #24\n"
      "bfi r6, r7, #8, #24\n"
      "pkhbt r4, r4, r6, lsl #16\n"
      "bfi r8, r9, #8, #24\n"
      "str r4, [r2], #8\n"
      "bfi r10, r11, #8, #24\n"
      "pkhbt r8, r8, r10, lsl #16\n"
      "str r8, [r2, #-4]\n"
      "subs r3, r3, #1\n"
      "strd r3, r2, [sp, #8]\n"
      "bne.w 1b\n"
      "add sp, sp, #20\n"
      "pop {r4-r11, pc}\n");
}
/* clang-format on */

#else /* the same computation in C, for tests on other machines */

static int8_t finish(int32_t doubled, uint32_t multiplier, uint32_t right, const row_t *row) {
  return tinyopt_requantize_doubled_s8(doubled, (int32_t)multiplier, (int32_t)right, row->offset);
}

static void multiply_row(const row_t *row, const uint32_t *stream, int8_t *output) {
  for (int32_t block = 0; block < row->blocks; ++block, output += 8) {
    const uint32_t *weights = stream + 8;
    const uint32_t *scales = weights + 2 * row->input_size;
    for (int32_t pair = 0; pair < 4; ++pair) {
      int32_t low = (int32_t)stream[2 * pair];
      int32_t high = (int32_t)stream[2 * pair + 1];
      for (int32_t i = 0; i < row->input_size; i += 4) {
        uint32_t x = tinyopt_load_s8x4(row->input + i);
        for (int32_t odd = 0; odd < 2; ++odd) {
          uint32_t w = weights[2 * i + 4 * odd + pair];
          uint32_t taps = odd ? tinyopt_sxtb16_ror8(x) : tinyopt_sxtb16(x);
          low = tinyopt_smlad(taps, tinyopt_sxtb16(w), low);
          high = tinyopt_smlad(taps, w, high);
        }
      }
      const uint32_t *scale = scales + 3 * pair;
      high = (int32_t)((uint32_t)high - (uint32_t)low);
      output[2 * pair] = finish((int32_t)((uint32_t)low << 1), scale[0], scale[2] & 255u, row);
      output[2 * pair + 1] = finish(high >> 7, scale[1], scale[2] >> 16, row);
    }
    stream = scales + 12;
  }
}

#endif

void tinyopt_fully_connected_s8_dsp_8(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output) {
  row_t row = {input, op->input_size, op->output_size / 8, 2 * op->output_zero_point + 1};
  for (int32_t r = 0; r < op->rows; ++r) {
    multiply_row(&row, (const uint32_t *)(const void *)op->weights, output);
    if (op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX) {
      for (int32_t o = 0; o < op->output_size; ++o) {
        output[o] = (int8_t)tinyopt_clamp(output[o], op->clamp_low, op->clamp_high);
      }
    }
    row.input += op->input_size;
    output += op->output_size;
  }
}
