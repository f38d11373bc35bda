/* Weights of 1, 2 or 4 bits on cores without SIMD: one multiplication makes the products of two outputs.
 *
 * A word of codes is made of fields of `bits` bits. Fields s of both halves, masked out together, are a + 2^16 * b: the
 * codes of two outputs for one input. Their product with the input is added to a word that holds the sums of both
 * outputs, the lower one modulo 2^16. It comes apart as long as the lower sum stays within int16, so the inputs are
 * taken in segments: (2^bits - 1) * 128 * SEGMENT < 2^15.
 *
 * Order of the codes: per eight outputs, words of the next 4 / bits inputs: fields 4 t + s of the low half are the
 * codes of output s for input t of the word, those of the high half the codes of output s + 4. Missing ones are 0. */
#include "narrow.h"
#include "uniform_fully_connected_s8.h"

enum { BLOCK = 8 };

/* Add the products of `words` words, at least one and no more than a segment, to eight sums. */
typedef void accumulate_t(const int8_t *x, const uint32_t *codes, int32_t words, int32_t *sums);

#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)

/* The sums are in high registers, which can be added to: the compiler would keep them in memory.
 *
 * Registers: r0 end of x, r1 codes, r2 activation, r3 codes, r4 product, r5 mask, r6 minus the inputs left, r8 to r11
 * sums. */
/* clang-format off */
#define PRODUCT(shift, sum) \
  "lsrs r4, r3, #" #shift "\n" \
  "ands r4, r5\n" \
  "muls r4, r2, r4\n" \
  "add " sum ", " sum ", r4\n"

#define PRODUCTS(a, b, c, d) \
  "ldrsb r2, [r0, r6]\n" \
  "adds r6, r6, #1\n" \
  PRODUCT(a, "r8") PRODUCT(b, "r9") PRODUCT(c, "r10") PRODUCT(d, "r11")

#define INPUT_4 "ldmia r1!, {r3}\n" PRODUCTS(0, 4, 8, 12)
#define INPUTS_2 "ldmia r1!, {r3}\n" PRODUCTS(0, 2, 4, 6) PRODUCTS(8, 10, 12, 14)
#define INPUTS_1 \
  "ldmia r1!, {r3}\n" \
  PRODUCTS(0, 1, 2, 3) PRODUCTS(4, 5, 6, 7) PRODUCTS(8, 9, 10, 11) PRODUCTS(12, 13, 14, 15)

/* A double sum, taken apart and added to two sums. */
#define APART(pair, at) \
  "mov r0, " pair "\n" \
  "sxth r1, r0\n" \
  "subs r0, r0, r1\n" \
  "asrs r0, r0, #16\n" \
  "ldr r2, [r4, #" #at "]\n" \
  "ldr r3, [r4, #16+" #at "]\n" \
  "adds r2, r2, r1\n" \
  "adds r3, r3, r0\n" \
  "str r2, [r4, #" #at "]\n" \
  "str r3, [r4, #16+" #at "]\n"

#define UNUSED __attribute__((unused))

/* `first` and `second`: a word each, the first one perhaps nothing; an odd number of words begins with the second. */
#define FUNCTION(name, mask, inputs_of_a_word, first, second) \
  __attribute__((naked, noinline)) static void name(const int8_t *x UNUSED, const uint32_t *codes UNUSED, \
                                                    int32_t words UNUSED, int32_t *sums UNUSED) { \
    __asm__ volatile( \
        ".syntax unified\n" \
        "push {r3-r7, lr}\n" \
        "mov r4, r8\n" \
        "mov r5, r9\n" \
        "mov r6, r10\n" \
        "mov r7, r11\n" \
        "push {r4-r7}\n" \
        "movs r4, #0\n" \
        "mov r8, r4\n" \
        "mov r9, r4\n" \
        "mov r10, r4\n" \
        "mov r11, r4\n" \
        "movs r5, #" #mask "\n" \
        "lsls r4, r5, #16\n" \
        "orrs r5, r4\n" \
        "movs r6, #" #inputs_of_a_word "\n" \
        "muls r6, r2, r6\n" \
        "adds r0, r0, r6\n" \
        "negs r6, r6\n" \
        "lsls r2, r2, #31\n" \
        "bne 2f\n" \
        ".balign 4\n" \
        "1:\n" \
        first \
        "2:\n" \
        second \
        "cmp r6, #0\n" \
        "bne 1b\n" \
        "ldr r4, [sp, #16]\n" \
        APART("r8", 0) APART("r9", 4) APART("r10", 8) APART("r11", 12) \
        "pop {r4-r7}\n" \
        "mov r8, r4\n" \
        "mov r9, r5\n" \
        "mov r10, r6\n" \
        "mov r11, r7\n" \
        "pop {r3-r7, pc}\n"); \
  }

FUNCTION(accumulate_4, 15, 1, INPUT_4, INPUT_4)
FUNCTION(accumulate_2, 3, 2, INPUTS_2, INPUTS_2)
FUNCTION(accumulate_1, 1, 4, , INPUTS_1)
/* clang-format on */

#else

/* A double sum, taken apart and added to two sums. */
static inline void add_apart(uint32_t pair, int32_t *sums) {
  int32_t lower = (int16_t)(uint16_t)(pair & 0xFFFFu);
  sums[0] += lower;
  sums[BLOCK / 2] += (int32_t)(pair - (uint32_t)lower) >> 16;
}

static TINYOPT_ALWAYS_INLINE void accumulate(const int8_t *x, const uint32_t *codes, int32_t words, int32_t *sums,
                                             int32_t bits) {
  const uint32_t mask = 0x00010001u * ((1u << bits) - 1u);
  uint32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
  for (const uint32_t *end = codes + words; codes != end; ++codes) {
    uint32_t word = *codes;
    for (int32_t t = 0; t < 4 / bits; ++t) {
      uint32_t activation = (uint32_t)(int32_t)*x++;
      sum0 += (word & mask) * activation;
      sum1 += (word >> bits & mask) * activation;
      sum2 += (word >> 2 * bits & mask) * activation;
      sum3 += (word >> 3 * bits & mask) * activation;
      word >>= bits == 4 ? 0 : 4 * bits;
    }
  }
  add_apart(sum0, sums);
  add_apart(sum1, sums + 1);
  add_apart(sum2, sums + 2);
  add_apart(sum3, sums + 3);
}

TINYOPT_NEVER_INLINE static void accumulate_4(const int8_t *x, const uint32_t *codes, int32_t words, int32_t *sums) {
  accumulate(x, codes, words, sums, 4);
}

TINYOPT_NEVER_INLINE static void accumulate_2(const int8_t *x, const uint32_t *codes, int32_t words, int32_t *sums) {
  accumulate(x, codes, words, sums, 2);
}

TINYOPT_NEVER_INLINE static void accumulate_1(const int8_t *x, const uint32_t *codes, int32_t words, int32_t *sums) {
  accumulate(x, codes, words, sums, 1);
}

#endif

/* The eight sums of code * x of a block; returns where the codes go on. */
static TINYOPT_ALWAYS_INLINE const uint32_t *sum_block(const int8_t *x, int32_t size, const uint32_t *codes,
                                                       int32_t *sums, int32_t bits, accumulate_t *add) {
  const int32_t in_word = 4 / bits;
  const int32_t segment = bits == 4 ? 16 : (bits == 2 ? 84 : 252); /* inputs */
  for (int32_t i = 0; i < BLOCK; ++i) {
    sums[i] = 0;
  }
  for (; size >= in_word; size -= tinyopt_min(size, segment) / in_word * in_word) {
    int32_t words = tinyopt_min(size, segment) / in_word;
    add(x, codes, words, sums);
    x += words * in_word;
    codes += words;
  }
  if (size > 0) { /* the last word, without reading behind the input */
    int8_t rest[4] = {0, 0, 0, 0};
    memcpy(rest, x, (size_t)size);
    add(rest, codes++, 1, sums);
  }
  return codes;
}

/* Up to eight outputs of their sums. */
static void requantize(const tinyopt_uniform_fully_connected_s8 *op, const int32_t *sums, int32_t first, int32_t count,
                       int8_t *output) {
  tinyopt_narrow scale = tinyopt_narrow_to(op->output_zero_point, op->clamp_low, op->clamp_high);
  const int32_t *multiplier = op->multipliers + first * op->per_channel;
  const int8_t *shift = op->shifts + first * op->per_channel;
  const int32_t per_channel = op->per_channel;
  for (int32_t i = 0; i < count; ++i) {
    scale.multiplier = *multiplier;
    scale.right = -*shift - 1;
    *output++ = tinyopt_narrow_s8(&scale, *sums++);
    multiplier += per_channel;
    shift += per_channel;
  }
}

static TINYOPT_ALWAYS_INLINE void connect(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                          int8_t *output, int32_t bits, accumulate_t *add) {
  for (int32_t row = 0; row < op->rows; ++row, input += op->input_size, output += op->output_size) {
    const uint32_t *codes = op->codes;
    int32_t base = 0;
    for (int32_t i = 0; i < op->input_size; ++i) {
      base += input[i];
    }
    base *= op->low;
    for (int32_t first = 0; first < op->output_size; first += BLOCK) {
      int32_t sums[BLOCK];
      codes = sum_block(input, op->input_size, codes, sums, bits, add);
      for (int32_t i = 0; i < BLOCK; ++i) {
        sums[i] = op->bias[first + i] + base + op->step * sums[i];
      }
      requantize(op, sums, first, tinyopt_min(BLOCK, op->output_size - first), output + first);
    }
  }
}

void tinyopt_uniform_fully_connected_s8_pairs_4(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                                int8_t *output) {
  connect(op, input, output, 4, accumulate_4);
}

void tinyopt_uniform_fully_connected_s8_pairs_2(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                                int8_t *output) {
  connect(op, input, output, 2, accumulate_2);
}

void tinyopt_uniform_fully_connected_s8_pairs_1(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                                int8_t *output) {
  connect(op, input, output, 1, accumulate_1);
}

static int32_t sum_of(const int8_t *x, int32_t size) {
  int32_t sum = 0;
  for (const int8_t *end = x + size; x != end; ++x) {
    sum += *x;
  }
  return sum;
}

void tinyopt_uniform_fully_connected_s8_pairs_4_groups(const tinyopt_uniform_fully_connected_s8 *op,
                                                       const int8_t *input, int8_t *output) {
  for (int32_t row = 0; row < op->rows; ++row, input += op->input_size, output += op->output_size) {
    const uint32_t *codes = op->codes;
    const uint32_t *group_multipliers = op->group_multipliers;
    for (int32_t first = 0; first < op->output_size; first += BLOCK) {
      int32_t sums[BLOCK] = {0, 0, 0, 0, 0, 0, 0, 0};
      for (int32_t at = 0; at < op->input_size; at += op->group) {
        int32_t of_group[BLOCK];
        int32_t size = tinyopt_min(op->group, op->input_size - at);
        int32_t base = op->low * sum_of(input + at, size);
        uint32_t multipliers = *group_multipliers++;
        codes = sum_block(input + at, size, codes, of_group, 4, accumulate_4);
        for (int32_t i = 0; i < BLOCK; ++i, multipliers >>= 4) {
          sums[i] += (int32_t)(multipliers & 15u) * (base + op->step * of_group[i]);
        }
      }
      for (int32_t i = 0; i < BLOCK; ++i) {
        sums[i] += op->bias[first + i];
      }
      requantize(op, sums, first, tinyopt_min(BLOCK, op->output_size - first), output + first);
    }
  }
}
