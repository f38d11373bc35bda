/* Weights of 1, 2 or 4 bits with the Arm DSP extension: codes are multiplied inside the words that hold them.
 *
 * Two inputs, widened to int16, meet a word of codes. A half of the word belongs to one of the inputs and holds the
 * codes of several outputs, c0 + c1 * 2^bits + c2 * 2^(2 bits) + …. With the upper codes masked away, SMLAD sums
 *   S0,  S0 + S1 * 2^bits,  S0 + S1 * 2^bits + S2 * 2^(2 bits),  …   (modulo 2^32)
 * and every S is the difference of two neighbours. So a sum costs one mask and one SMLAD for two products, and the last
 * one no mask. SMLAD reads halves as signed: the last code is stored in two's complement, as code - 2^(bits - 1). The
 * packing proves that every S in a word fits into what is left of 32 bits above it.
 *
 * Order of the codes: per eight outputs, per two inputs (k, k + 1):
 *   4 bits: a word of outputs 0 to 3 and one of outputs 4 to 7, the halves as above;
 *   2 bits: a word, the halves as above;
 *   1 bit: the low bytes of the halves of a word, the next two inputs the high bytes; codes are not signed.
 * Inputs are filled up to a multiple of eight with zeros. */
#include "dsp.h"
#include "uniform_fully_connected_s8.h"

enum { BLOCK = 8 };

/* Adds to the eight sums of a block; returns where the codes go on. `end`: of the widened inputs. */
typedef const uint32_t *accumulate_t(const uint32_t *x, const uint32_t *codes, const uint32_t *end, int32_t *sums);

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* Registers: r0 inputs, r1 codes, r2 two inputs, r3 and r12 codes, lr masked codes, r4 to r11 sums. Frame: 0 the end of
 * the inputs, 4 sums. Sixteen inputs a time, entered in the middle when their number is an odd multiple of eight. Loads
 * follow each other, as only the first of a row takes two cycles. */
/* clang-format off */
#define UNUSED __attribute__((unused))
#define FUNCTION(name, half, first, second) \
  __attribute__((naked, noinline)) static const uint32_t *name(const uint32_t *x UNUSED, const uint32_t *codes UNUSED, \
                                                               const uint32_t *end UNUSED, int32_t *sums UNUSED) { \
    __asm__ volatile( \
        ".syntax unified\n" \
        "push {r2-r11, lr}\n" \
        "subs r2, r2, r0\n" \
        "mov r4, #0\n" \
        "mov r5, #0\n" \
        "mov r6, #0\n" \
        "mov r7, #0\n" \
        "mov r8, #0\n" \
        "mov r9, #0\n" \
        "mov r10, #0\n" \
        "mov r11, #0\n" \
        "lsls r2, r2, #27\n" \
        "bpl 1f\n" \
        "subs r0, r0, #16\n" \
        "subs r1, r1, #" #half "\n" \
        "b 2f\n" \
        ".balign 4\n" \
        "1:\n" \
        first \
        "2:\n" \
        second \
        "adds r0, r0, #32\n" \
        "ldr lr, [sp]\n" \
        "adds r1, r1, #2*" #half "\n" \
        "cmp r0, lr\n" \
        "bne.w 1b\n" \
        "ldr r0, [sp, #4]\n" \
        "stmia r0, {r4-r11}\n" \
        "mov r0, r1\n" \
        "pop {r2-r11, pc}\n"); \
  }

#define INPUTS(at) "ldr.w r2, [r0, #" #at "]\n"
#define CODES(to, at) "ldr.w " to ", [r1, #" #at "]\n"
#define MASKED(mask, codes, sum) mask " lr, " codes "\n" "smlad " sum ", r2, lr, " sum "\n"
#define AND(mask, codes, sum) "and lr, " codes ", #" mask "\n" "smlad " sum ", r2, lr, " sum "\n"
#define WITHOUT(mask, codes, sum) "bic lr, " codes ", #" mask "\n" "smlad " sum ", r2, lr, " sum "\n"

#define FOUR_BITS(codes, a, b, c, d) \
  AND("0x000F000F", codes, a) \
  MASKED("uxtb16", codes, b) \
  WITHOUT("0xF000F000", codes, c) \
  "smlad " d ", r2, " codes ", " d "\n"

#define PAIR_4(x, codes) \
  INPUTS(x) CODES("r3", codes) CODES("r12", codes+4) \
  FOUR_BITS("r3", "r4", "r5", "r6", "r7") \
  FOUR_BITS("r12", "r8", "r9", "r10", "r11")

#define PAIR_2(x, codes) \
  INPUTS(x) CODES("r3", codes) \
  AND("0x00030003", "r3", "r4") \
  AND("0x000F000F", "r3", "r5") \
  AND("0x003F003F", "r3", "r6") \
  MASKED("uxtb16", "r3", "r7") \
  WITHOUT("0xFC00FC00", "r3", "r8") \
  WITHOUT("0xF000F000", "r3", "r9") \
  WITHOUT("0xC000C000", "r3", "r10") \
  "smlad r11, r2, r3, r11\n"

#define ONE_BIT(unpack) \
  unpack \
  AND("0x00010001", "r12", "r4") \
  AND("0x00030003", "r12", "r5") \
  AND("0x00070007", "r12", "r6") \
  AND("0x000F000F", "r12", "r7") \
  AND("0x001F001F", "r12", "r8") \
  AND("0x003F003F", "r12", "r9") \
  AND("0x007F007F", "r12", "r10") \
  "smlad r11, r2, r12, r11\n"

#define PAIRS_1(x, codes) \
  INPUTS(x) CODES("r3", codes) \
  ONE_BIT("uxtb16 r12, r3\n") \
  INPUTS(x+4) \
  ONE_BIT("uxtb16 r12, r3, ror #8\n")

FUNCTION(accumulate_4, 32,
  PAIR_4(0, 0) PAIR_4(4, 8) PAIR_4(8, 16) PAIR_4(12, 24),
  PAIR_4(16, 32) PAIR_4(20, 40) PAIR_4(24, 48) PAIR_4(28, 56))
FUNCTION(accumulate_2, 16,
  PAIR_2(0, 0) PAIR_2(4, 4) PAIR_2(8, 8) PAIR_2(12, 12),
  PAIR_2(16, 16) PAIR_2(20, 20) PAIR_2(24, 24) PAIR_2(28, 28))
FUNCTION(accumulate_1, 8,
  PAIRS_1(0, 0) PAIRS_1(8, 4),
  PAIRS_1(16, 8) PAIRS_1(24, 12))
/* clang-format on */

#else /* the same computation in C, for tests on other machines */

static void add_masked(uint32_t x, uint32_t codes, int32_t count, int32_t bits, int32_t *sums) {
  for (int32_t i = 0; i < count; ++i) {
    uint32_t mask = (1u << (bits * (i + 1))) - 1u;
    sums[i] = tinyopt_smlad(x, codes & (mask << 16 | mask), sums[i]);
  }
}

static const uint32_t *accumulate_4(const uint32_t *x, const uint32_t *codes, const uint32_t *end, int32_t *sums) {
  memset(sums, 0, BLOCK * sizeof *sums);
  for (; x != end; ++x, codes += 2) {
    add_masked(*x, codes[0], 4, 4, sums);
    add_masked(*x, codes[1], 4, 4, sums + 4);
  }
  return codes;
}

static const uint32_t *accumulate_2(const uint32_t *x, const uint32_t *codes, const uint32_t *end, int32_t *sums) {
  memset(sums, 0, BLOCK * sizeof *sums);
  for (; x != end; ++x, ++codes) {
    add_masked(*x, codes[0], BLOCK, 2, sums);
  }
  return codes;
}

static const uint32_t *accumulate_1(const uint32_t *x, const uint32_t *codes, const uint32_t *end, int32_t *sums) {
  memset(sums, 0, BLOCK * sizeof *sums);
  for (; x != end; x += 2, ++codes) {
    add_masked(x[0], *codes & 0x00FF00FFu, BLOCK, 1, sums);
    add_masked(x[1], *codes >> 8 & 0x00FF00FFu, BLOCK, 1, sums);
  }
  return codes;
}

#endif

/* The inputs of a row as int16, with zeros up to a multiple of eight; returns their sum. */
static int32_t widen(const int8_t *input, int32_t size, int16_t *x) {
  int32_t sum = 0;
  int32_t i = 0;
  for (; i < size; ++i) {
    x[i] = input[i];
    sum += input[i];
  }
  for (; i & 7; ++i) {
    x[i] = 0;
  }
  return sum;
}

/* What the outputs of a row share. */
typedef struct {
  int32_t base; /* low times the sum of the inputs */
  int32_t last; /* the same for outputs with signed codes */
  int32_t step;
  int32_t offset; /* 2 * output zero point + 1 */
} row_t;

/* An output of its sum of codes times inputs. */
static TINYOPT_ALWAYS_INLINE int8_t finish(const row_t *row, int32_t base, int32_t sum, int32_t multiplier,
                                           int32_t shift) {
  uint32_t doubled = (uint32_t)(base + row->step * sum) << 1;
  return tinyopt_requantize_doubled_s8((int32_t)doubled, multiplier, ~shift, row->offset);
}

/* Eight outputs of nested sums, not clamped yet. */
static TINYOPT_ALWAYS_INLINE void finish_block(const tinyopt_uniform_fully_connected_s8 *op, const row_t *row,
                                               const int32_t *nested, int32_t first, int32_t bits, int8_t *output) {
  const int32_t in_half = bits == 4 ? 4 : BLOCK; /* outputs */
  const int32_t per_channel = op->per_channel;
  const int32_t *bias = op->bias + first;
  const int32_t *multiplier = op->multipliers + first * per_channel;
  const int8_t *shift = op->shifts + first * per_channel;
  const row_t r = *row; /* a copy, which stores of outputs cannot change */
#define OUTPUT(i)                                                                                                      \
  do {                                                                                                                 \
    const int32_t place = (i) % in_half;                                                                               \
    uint32_t above = (uint32_t)nested[i] - (place == 0 ? 0u : (uint32_t)nested[((i) + 7) % BLOCK]);                    \
    int32_t base = bias[i] + (place == in_half - 1 ? r.last : r.base);                                                 \
    output[i] = finish(&r, base, (int32_t)above >> (bits * place), *multiplier, *shift);                               \
    multiplier += per_channel;                                                                                         \
    shift += per_channel;                                                                                              \
  } while (0)
  OUTPUT(0);
  OUTPUT(1);
  OUTPUT(2);
  OUTPUT(3);
  OUTPUT(4);
  OUTPUT(5);
  OUTPUT(6);
  OUTPUT(7);
#undef OUTPUT
}

static TINYOPT_ALWAYS_INLINE void connect(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                          int8_t *output, void *scratch, int32_t bits, accumulate_t *accumulate) {
  const uint32_t *end = (const uint32_t *)scratch + (op->input_size + 7) / 8 * 4;
  row_t row = {0, 0, op->step, 2 * op->output_zero_point + 1};
  for (int32_t r = 0; r < op->rows; ++r, input += op->input_size, output += op->output_size) {
    const uint32_t *codes = op->codes;
    int32_t total = widen(input, op->input_size, scratch);
    row.base = op->low * total;
    row.last = row.base + (bits == 1 ? 0 : op->step * (1 << (bits - 1)) * total);
    for (int32_t first = 0; first < op->output_size; first += BLOCK) {
      int32_t sums[BLOCK];
      int8_t rest[BLOCK];
      int32_t count = op->output_size - first;
      codes = accumulate(scratch, codes, end, sums);
      finish_block(op, &row, sums, first, bits, count < BLOCK ? rest : output + first);
      if (count < BLOCK) {
        memcpy(output + first, rest, (size_t)count);
      }
    }
    if (op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX) {
      for (int32_t i = 0; i < op->output_size; ++i) {
        output[i] = (int8_t)tinyopt_clamp(output[i], op->clamp_low, op->clamp_high);
      }
    }
  }
}

void tinyopt_uniform_fully_connected_s8_dsp_4(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch) {
  connect(op, input, output, scratch, 4, accumulate_4);
}

void tinyopt_uniform_fully_connected_s8_dsp_2(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch) {
  connect(op, input, output, scratch, 2, accumulate_2);
}

void tinyopt_uniform_fully_connected_s8_dsp_1(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch) {
  connect(op, input, output, scratch, 1, accumulate_1);
}

/* The sums of the inputs of each group. */
static void sum_groups(const int16_t *x, int32_t size, int32_t group, int32_t *sums) {
  for (int32_t first = 0; first < size; first += group) {
    int32_t sum = 0;
    for (int32_t i = first; i < tinyopt_min(first + group, size); ++i) {
      sum += x[i];
    }
    *sums++ = sum;
  }
}

/* Adds a group's part to the sums of eight outputs. `total`: of its inputs. `multipliers`: four bits for each output.
 */
static void add_group(const tinyopt_uniform_fully_connected_s8 *op, int32_t *sums, const int32_t *nested, int32_t total,
                      uint32_t multipliers) {
  const int32_t step = op->step;
  const int32_t base = op->low * total;
  const int32_t last = base + step * 8 * total; /* the signed code */
  for (int32_t i = 0; i < BLOCK; i += 4, sums += 4, nested += 4) {
    for (int32_t place = 0; place < 4; ++place, multipliers >>= 4) {
      uint32_t sum = (uint32_t)nested[place] - (place == 0 ? 0u : (uint32_t)nested[place - 1]);
      sums[place] += (int32_t)(multipliers & 15u) * (step * ((int32_t)sum >> (4 * place)) + (place == 3 ? last : base));
    }
  }
}

void tinyopt_uniform_fully_connected_s8_dsp_4_groups(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                                     int8_t *output, void *scratch) {
  int32_t padded = (op->input_size + 7) & ~7;
  int32_t *totals = (int32_t *)scratch + padded / 2;
  for (int32_t r = 0; r < op->rows; ++r, input += op->input_size) {
    const uint32_t *codes = op->codes;
    const uint32_t *multipliers = op->group_multipliers;
    widen(input, op->input_size, scratch);
    sum_groups(scratch, op->input_size, op->group, totals);
    for (int32_t first = 0; first < op->output_size; first += BLOCK) {
      int32_t sums[BLOCK] = {0, 0, 0, 0, 0, 0, 0, 0};
      const int32_t *total = totals;
      for (int32_t at = 0; at < padded; at += op->group) {
        int32_t nested[BLOCK];
        const uint32_t *x = (const uint32_t *)scratch + at / 2;
        const uint32_t *end = x + tinyopt_min(op->group, padded - at) / 2;
        codes = accumulate_4(x, codes, end, nested);
        add_group(op, sums, nested, *total++, *multipliers++);
      }
      for (int32_t i = 0; i < tinyopt_min(BLOCK, op->output_size - first); ++i) {
        int32_t channel = (first + i) * op->per_channel;
        uint32_t doubled = (uint32_t)(op->bias[first + i] + sums[i]) << 1;
        int8_t value = tinyopt_requantize_doubled_s8((int32_t)doubled, op->multipliers[channel], ~op->shifts[channel],
                                                     2 * op->output_zero_point + 1);
        *output++ = (int8_t)tinyopt_clamp(value, op->clamp_low, op->clamp_high);
      }
    }
  }
}
