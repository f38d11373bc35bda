/* Sum of two int8 tensors of one shape with the Arm DSP extension.
 *
 * SMMULR of a doubled value is the rounding doubling high multiply; adding the sign, shifting by one less, adding
 * 2 * zero point + 1 and halving is the rounding shift of the output. */
#include "add_s8.h"
#include "dsp.h"

typedef struct {
  int32_t a_factor;
  int32_t a_offset;
  int32_t b_zero_point;
  int32_t b_multiplier;
  int32_t b_sign;
  int32_t b_right;     /* shift of b */
  int32_t b_half;      /* what rounds it; with no shift, zero */
  int32_t b_sign_mask; /* -1, or 0 with no shift */
  int32_t multiplier;  /* of the output */
  int32_t right;       /* shift of the output, minus one */
  int32_t offset;      /* 2 * output zero point + 1 */
} sum_t;

static inline int32_t add_one(const sum_t *s, int32_t a, int32_t b) {
  int32_t scaled = tinyopt_smmulr((b - s->b_zero_point) * (1 << 21), s->b_multiplier);
  scaled = (scaled + ((scaled >> 31) & s->b_sign_mask) + s->b_half) >> s->b_right;
  int32_t sum = a * s->a_factor + s->a_offset + scaled * s->b_sign;
  return tinyopt_requantize_doubled_s8(sum * 2, s->multiplier, s->right, s->offset);
}

static inline int32_t lane(uint32_t word, int index) {
  return (int8_t)(uint8_t)(word >> (8 * index));
}

static inline uint32_t add_four(const sum_t *s, uint32_t a, uint32_t b) {
  uint32_t result = (uint32_t)add_one(s, lane(a, 0), lane(b, 0)) & 255u;
  result |= ((uint32_t)add_one(s, lane(a, 1), lane(b, 1)) & 255u) << 8;
  result |= ((uint32_t)add_one(s, lane(a, 2), lane(b, 2)) & 255u) << 16;
  return result | (uint32_t)add_one(s, lane(a, 3), lane(b, 3)) << 24;
}

void tinyopt_add_s8_dsp(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  const sum_t s = {.a_factor = op->a_factor,
                   .a_offset = op->a_offset,
                   .b_zero_point = op->b_zero_point,
                   .b_multiplier = op->b_multiplier,
                   .b_sign = op->b_sign,
                   .b_right = -op->b_shift,
                   .b_half = op->b_shift < 0 ? 1 << (-op->b_shift - 1) : 0,
                   .b_sign_mask = op->b_shift < 0 ? -1 : 0,
                   .multiplier = op->output_multiplier,
                   .right = -op->output_shift - 1,
                   .offset = 2 * op->output_zero_point + 1};
  int32_t left = op->broadcast.columns;
  int8_t *begin = output;
  for (; left >= 4; left -= 4, a += 4, b += 4, output += 4) {
    uint32_t word = add_four(&s, tinyopt_load_s8x4(a), tinyopt_load_s8x4(b));
    memcpy(output, &word, sizeof word);
  }
  for (; left > 0; --left) {
    *output++ = (int8_t)add_one(&s, *a++, *b++);
  }
  if (op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX) {
    for (; begin < output; ++begin) {
      *begin = (int8_t)tinyopt_clamp(*begin, op->clamp_low, op->clamp_high);
    }
  }
}
