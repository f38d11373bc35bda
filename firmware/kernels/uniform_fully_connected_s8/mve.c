/* Weights of 1, 2 or 4 bits with Helium (MVE): four outputs at a time, sixteen inputs per step; codes are multiplied
 * inside the bytes that hold them, as in dsp.c.
 *
 * Order of the codes: per four outputs (of 1 bit: eight), per sixteen inputs, vectors of sixteen bytes, one for each
 * input. Of 4 bits there are two: a byte holds c0 + 16 * c1, then c2 + 16 * c3. Of 2 bits it holds c0 + 4 * c1 + 16 *
 * c2
 * + 64 * c3. The last code of these bytes is stored in two's complement, as code - 2^(bits - 1). Of 1 bit a byte holds
 * the codes of eight outputs, which are computed four and four. Inputs are filled up to a multiple of sixteen.
 *
 * With the upper codes masked away, VMLADAVA sums S0, S0 + S1 * 2^bits, …, and every S is the difference of two
 * neighbours. */
#include "mve.h"
#include "uniform_fully_connected_s8.h"

enum { BLOCK = 4, VECTOR = 16 };

/* Which codes of the bytes: those of 4 and 2 bits all, those of 1 bit the lower or the upper four. */
typedef enum { FOUR_BITS, TWO_BITS, ONE_BIT_LOW, ONE_BIT_HIGH } codes_t;

#if TINYOPT_HAS_MVE

static int32_t sum_of(const int8_t *input, int32_t size) {
  int32_t sum = 0;
  for (int32_t left = size; left > 0; left -= VECTOR, input += VECTOR) {
    sum = vaddvaq_s8(sum, vld1q_z_s8(input, vctp8q((uint32_t)left)));
  }
  return sum;
}

/* clang-format off */
#define LOOP(body) \
  __asm__ volatile("dlstp.8 lr, %[count]\n" \
                   "1:\n" \
                   "vldrb.u8 q0, [%[x]], #16\n" \
                   "vldrb.u8 q1, [%[codes]], #16\n" \
                   body \
                   "letp lr, 1b\n" \
                   : [a] "+Te"(a), [b] "+Te"(b), [c] "+Te"(c), [d] "+Te"(d), [x] "+r"(x), [codes] "+r"(codes) \
                   : [count] "r"(size), [m1] "w"(mask1), [m2] "w"(mask2), [m3] "w"(mask3) \
                   : "lr", "q0", "q1", "q2", "q3", "memory")
/* clang-format on */

/* Four nested sums; the loops are predicated at their last step: nothing is read behind x. */
static TINYOPT_ALWAYS_INLINE void multiply(const int8_t *x, int32_t size, const uint8_t *codes, const codes_t kind,
                                           int32_t *sums) {
  int32_t a = 0;
  int32_t b = 0;
  int32_t c = 0;
  int32_t d = 0;
  const uint8x16_t mask1 = vdupq_n_u8(kind == FOUR_BITS ? 15 : (kind == TWO_BITS ? 3 : 1));
  const uint8x16_t mask2 = vdupq_n_u8(kind == TWO_BITS ? 15 : 3);
  const uint8x16_t mask3 = vdupq_n_u8(kind == TWO_BITS ? 63 : 7);
  if (kind == FOUR_BITS) {
    LOOP("vmladava.s8 %[b], q0, q1\n"
         "vldrb.u8 q3, [%[codes]], #16\n"
         "vand q2, q1, %q[m1]\n"
         "vmladava.s8 %[a], q0, q2\n"
         "vand q2, q3, %q[m1]\n"
         "vmladava.s8 %[d], q0, q3\n"
         "vmladava.s8 %[c], q0, q2\n");
  } else if (kind == ONE_BIT_LOW) {
    LOOP("vand q2, q1, %q[m1]\n"
         "vmladava.s8 %[a], q0, q2\n"
         "vshl.i8 q3, q1, #4\n"
         "vand q2, q1, %q[m2]\n"
         "vmladava.s8 %[b], q0, q2\n"
         "vand q2, q1, %q[m3]\n"
         "vshr.u8 q3, q3, #4\n"
         "vmladava.s8 %[c], q0, q2\n"
         "vmladava.s8 %[d], q0, q3\n");
  } else {
    if (kind == TWO_BITS) {
      LOOP("vand q2, q1, %q[m1]\n"
           "vmladava.s8 %[d], q0, q1\n"
           "vand q3, q1, %q[m2]\n"
           "vmladava.s8 %[a], q0, q2\n"
           "vand q2, q1, %q[m3]\n"
           "vmladava.s8 %[b], q0, q3\n"
           "vmladava.s8 %[c], q0, q2\n");
    } else {
      LOOP("vshr.u8 q1, q1, #4\n"
           "vand q2, q1, %q[m1]\n"
           "vmladava.s8 %[d], q0, q1\n"
           "vand q3, q1, %q[m2]\n"
           "vmladava.s8 %[a], q0, q2\n"
           "vand q2, q1, %q[m3]\n"
           "vmladava.s8 %[b], q0, q3\n"
           "vmladava.s8 %[c], q0, q2\n");
    }
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}

/* Four outputs of their sums of codes times inputs. `base`: what is to be added to each of them. */
static TINYOPT_ALWAYS_INLINE void finish(const tinyopt_uniform_fully_connected_s8 *op, const int32_t *base,
                                         const int32_t *sums, int32_t first, int8_t *output) {
  int32x4_t all = vaddq_s32(vld1q_s32(op->bias + first), vld1q_s32(base));
  all = vmlaq_n_s32(all, vld1q_s32(sums), op->step);
  int32x4_t multipliers = op->per_channel ? vld1q_s32(op->multipliers + first) : vdupq_n_s32(op->multipliers[0]);
  int32x4_t shifts = op->per_channel ? vldrbq_s32(op->shifts + first) : vdupq_n_s32(op->shifts[0]);
  int32x4_t values = tinyopt_mve_requantize(all, multipliers, shifts);
  values = tinyopt_mve_output(values, op->output_zero_point, vdupq_n_s32(op->clamp_low), vdupq_n_s32(op->clamp_high));
  vstrbq_p_s32(output + first, values, vctp32q((uint32_t)(op->output_size - first)));
}

#else /* the same computation in C, for tests on other machines */

static int32_t sum_of(const int8_t *input, int32_t size) {
  int32_t sum = 0;
  for (int32_t i = 0; i < size; ++i) {
    sum += input[i];
  }
  return sum;
}

static void multiply(const int8_t *x, int32_t size, const uint8_t *codes, codes_t kind, int32_t *sums) {
  static const uint8_t masks[4][BLOCK] = {{15, 255, 15, 255}, {3, 15, 63, 255}, {1, 3, 7, 15}, {1, 3, 7, 15}};
  int32_t vectors = kind == FOUR_BITS ? 2 : 1;
  for (int32_t lane = 0; lane < BLOCK; ++lane) {
    sums[lane] = 0;
    for (int32_t i = 0; i < size; ++i) {
      uint32_t byte = codes[(i / VECTOR * vectors + lane / 2 * (vectors - 1)) * VECTOR + i % VECTOR];
      byte = (kind == ONE_BIT_HIGH ? byte >> 4 : byte) & masks[kind][lane];
      sums[lane] += (byte < 128 ? (int32_t)byte : (int32_t)byte - 256) * x[i];
    }
  }
}

static void finish(const tinyopt_uniform_fully_connected_s8 *op, const int32_t *base, const int32_t *sums,
                   int32_t first, int8_t *output) {
  for (int32_t lane = 0; lane < tinyopt_min(BLOCK, op->output_size - first); ++lane) {
    int32_t channel = (first + lane) * op->per_channel;
    int32_t sum = tinyopt_mac(tinyopt_mac(base[lane], op->step, sums[lane]), op->bias[first + lane], 1);
    output[first + lane] = tinyopt_requantize_s8(sum, op->multipliers[channel], op->shifts[channel],
                                                 op->output_zero_point, op->clamp_low, op->clamp_high);
  }
}

#endif

static TINYOPT_ALWAYS_INLINE void compute(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                          const uint8_t *codes, const int32_t *base, int32_t first, const codes_t kind,
                                          int8_t *output) {
  const int32_t bits = kind == FOUR_BITS ? 4 : (kind == TWO_BITS ? 2 : 1);
  int32_t sums[BLOCK];
  multiply(input, op->input_size, codes, kind, sums);
  sums[3] = (sums[3] - sums[2]) >> (bits == 4 ? 4 : 3 * bits);
  if (bits != 4) {
    sums[2] = (sums[2] - sums[1]) >> (2 * bits);
  }
  sums[1] = (sums[1] - sums[0]) >> bits;
  finish(op, base, sums, first, output);
}

/* `base` becomes what is to be added to four outputs, for their weights' lowest value and the signed codes. */
static void set_base(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input, int32_t bits, int32_t *base) {
  int32_t sum = sum_of(input, op->input_size);
  int32_t extra = bits == 1 ? 0 : op->step * (1 << (bits - 1)) * sum;
  base[0] = op->low * sum;
  base[1] = base[0] + (bits == 4 ? extra : 0);
  base[2] = base[0];
  base[3] = base[0] + extra;
}

static TINYOPT_ALWAYS_INLINE void connect(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                          int8_t *output, const codes_t kind) {
  const int32_t bits = kind == FOUR_BITS ? 4 : (kind == TWO_BITS ? 2 : 1);
  int32_t bytes = (op->input_size + VECTOR - 1) / VECTOR * (bits == 4 ? 2 * VECTOR : VECTOR); /* of a block */
  for (int32_t row = 0; row < op->rows; ++row, input += op->input_size, output += op->output_size) {
    const uint8_t *codes = (const uint8_t *)op->codes;
    int32_t base[BLOCK];
    set_base(op, input, bits, base);
    for (int32_t first = 0; first < op->output_size; first += BLOCK, codes += bytes) {
      compute(op, input, codes, base, first, kind, output);
      if (bits == 1 && first + BLOCK < op->output_size) {
        first += BLOCK;
        compute(op, input, codes, base, first, ONE_BIT_HIGH, output);
      }
    }
  }
}

void tinyopt_uniform_fully_connected_s8_mve_4(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output) {
  connect(op, input, output, FOUR_BITS);
}

void tinyopt_uniform_fully_connected_s8_mve_2(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output) {
  connect(op, input, output, TWO_BITS);
}

void tinyopt_uniform_fully_connected_s8_mve_1(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output) {
  connect(op, input, output, ONE_BIT_LOW);
}
