/* Sum of two int8 tensors of one shape with the Arm DSP extension, four elements in a turn.
 *
 * SMMULR of a doubled value is the rounding doubling high multiply. b is shifted to the right with ASRS, whose carry is
 * what rounds it: ADC adds both. Where negative results are clamped to the zero point anyway (relu), how the output's
 * ties are rounded does not matter, and its two roundings become one: of four times the sum, all that is to be added
 * goes into the accumulator of SMMLA. The rounding of the multiplication is a whole number, 1, there. */
#include "add_s8.h"
#include "dsp.h"

enum { TURN = 4 };

/* The assembly knows the order. */
typedef struct {
  int32_t a_factor;
  int32_t a_offset;
  int32_t b_offset; /* -b_zero_point * 2^21 */
  int32_t b_multiplier;
  int32_t b_right;    /* shift of b, at least 1 */
  int32_t multiplier; /* of the output; negative where b is subtracted: then the sum is negated */
  int32_t added;      /* relu: to the high multiply of the output; else 2 * zero point + 1 */
  int32_t right;      /* shift of the output; without relu, minus 1 */
  const int8_t *a_end;
} sum_t;

/* A multiple of four elements, at least four. */
typedef void sum_function(const int8_t *a, const int8_t *b, int8_t *output, const sum_t *sum);

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* Registers: r0 a, r1 b, r2 output, r3 to r10 the fields of sum_t, r11 b, r12 scaled b, then the output, lr a, then the
 * sum. Frame: 0 end of a. An output is stored while the next one is computed. */
/* clang-format off */
#define SUM(store, finish) \
  "ldrsb r11, [r1], #1\n" \
  "ldrsb lr, [r0], #1\n" \
  "add r11, r5, r11, lsl #21\n" \
  store \
  "smmulr r12, r11, r6\n" \
  "add r12, r12, r11, asr #31\n" \
  "mla lr, lr, r3, r4\n" \
  "asrs r12, r12, r7\n" \
  "adc lr, lr, r12\n" \
  finish
#define STORE "strb r12, [r2], #1\n"

#define SUMS(finish) \
  __asm__ volatile( \
    ".syntax unified\n" \
    "push {r4-r11, lr}\n" \
    "ldmia r3, {r3-r11}\n" \
    "push {r11}\n" \
    ".balign 4\n" \
    "1:\n" \
    SUM("", finish) \
    SUM(STORE, finish) \
    SUM(STORE, finish) \
    SUM(STORE, finish) \
    "ldr r11, [sp]\n" \
    STORE \
    "cmp r0, r11\n" \
    "bne.w 1b\n" \
    "add sp, sp, #4\n" \
    "pop {r4-r11, pc}\n")

#define UNUSED __attribute__((unused))

__attribute__((naked, noinline)) static void add_any(const int8_t *a UNUSED, const int8_t *b UNUSED,
                                                     int8_t *output UNUSED, const sum_t *sum UNUSED) {
  SUMS("lsl lr, lr, #1\n"
       "smmulr lr, lr, r8\n"
       "add lr, lr, lr, asr #31\n"
       "asr lr, lr, r10\n"
       "add lr, lr, r9\n"
       "ssat r12, #8, lr, asr #1\n");
}

__attribute__((naked, noinline)) static void add_relu(const int8_t *a UNUSED, const int8_t *b UNUSED,
                                                      int8_t *output UNUSED, const sum_t *sum UNUSED) {
  SUMS("lsl lr, lr, #2\n"
       "smmla lr, lr, r8, r9\n"
       "asr lr, lr, r10\n"
       "ssat r12, #8, lr\n");
}
/* clang-format on */

#else /* the same computation in C, for tests on other machines */

static int32_t add_one(const sum_t *sum, int32_t a, int32_t b) {
  int32_t raised = b * (1 << 21) + sum->b_offset;
  int32_t scaled = tinyopt_smmulr(raised, sum->b_multiplier) + (raised >> 31);
  scaled = (scaled + (1 << (sum->b_right - 1))) >> sum->b_right;
  return a * sum->a_factor + sum->a_offset + scaled;
}

static void add_any(const int8_t *a, const int8_t *b, int8_t *output, const sum_t *sum) {
  while (a < sum->a_end) {
    int32_t doubled = 2 * add_one(sum, *a++, *b++);
    *output++ = tinyopt_requantize_doubled_s8(doubled, sum->multiplier, sum->right, sum->added);
  }
}

static void add_relu(const int8_t *a, const int8_t *b, int8_t *output, const sum_t *sum) {
  while (a < sum->a_end) {
    int64_t product = (int64_t)(4 * add_one(sum, *a++, *b++)) * sum->multiplier;
    int32_t high = (int32_t)(product >> 32) + sum->added;
    *output++ = (int8_t)tinyopt_clamp(high >> sum->right, INT8_MIN, INT8_MAX);
  }
}

#endif

static void add(const tinyopt_add_s8 *op, sum_function *function, sum_t *sum, const int8_t *a, const int8_t *b,
                int8_t *output) {
  /* With no shift, the multiplier of b is one half. One, and a shift by 1, is the same; what it lacks to 2^31 is
   * rounded away. */
  bool shifted = op->b_shift < 0;
  sum->b_multiplier = shifted ? op->b_multiplier : INT32_MAX;
  sum->b_right = shifted ? -op->b_shift : 1;
  sum->b_offset = -op->b_zero_point * (1 << 21);
  sum->a_factor = op->b_sign * op->a_factor;
  sum->a_offset = op->b_sign * op->a_offset;
  sum->multiplier = op->b_sign * op->output_multiplier;
  int32_t count = op->broadcast.columns;
  int32_t whole = count & -TURN;
  int32_t left = count - whole;
  int8_t *begin = output;
  sum->a_end = a + whole;
  if (whole) {
    function(a, b, output, sum);
  }
  if (left) {
    int8_t a_rest[TURN] = {0};
    int8_t b_rest[TURN] = {0};
    int8_t output_rest[TURN];
    memcpy(a_rest, a + whole, (size_t)left);
    memcpy(b_rest, b + whole, (size_t)left);
    sum->a_end = a_rest + TURN;
    function(a_rest, b_rest, output_rest, sum);
    memcpy(output + whole, output_rest, (size_t)left);
  }
  if (op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX) {
    for (; begin < output + count; ++begin) {
      *begin = (int8_t)tinyopt_clamp(*begin, op->clamp_low, op->clamp_high);
    }
  }
}

void tinyopt_add_s8_dsp(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  sum_t sum = {.added = 2 * op->output_zero_point + 1, .right = -op->output_shift - 1};
  add(op, add_any, &sum, a, b, output);
}

void tinyopt_add_s8_dsp_relu(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  int32_t right = 1 - op->output_shift;
  sum_t sum = {.added = op->output_zero_point * (1 << right) + (1 << (right - 1)) + 1, .right = right};
  add(op, add_relu, &sum, a, b, output);
}
