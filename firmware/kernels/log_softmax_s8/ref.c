#include "log_softmax_s8.h"

/* Half of a + b, halves away from zero. */
static int32_t half_sum(int32_t a, int32_t b) {
  int64_t sum = (int64_t)a + b;
  return (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
}

/* log(x) in Q5 for x >= 1 in Q12: x is split into a power of two and r in [sqrt(1/2), 1], whose logarithm is a rational
 * function around the fourth root of 1/2. Two splits half a power apart are tried, and the better one is taken. */
static int32_t log_of_at_least_one(int32_t x) {
  const int32_t log_2 = 1488522236;
  const int32_t fourth_root_half = 1805811301;
  const int32_t sqrt_half = 1518500250;
  const int32_t quarter = 1 << 23; /* in Q6 */
  int zeros_a = tinyopt_leading_zeros((uint32_t)x);
  int32_t r_a =
      tinyopt_saturating_shift_left(tinyopt_fixed_multiply((int32_t)((uint32_t)x << (zeros_a - 1)), sqrt_half), 1);
  int32_t power_a = (12 - zeros_a) * (1 << 25) + quarter;
  int headroom_b = tinyopt_leading_zeros((uint32_t)tinyopt_fixed_multiply(x, sqrt_half)) - 1;
  int32_t r_b = tinyopt_saturating_shift_left(x, headroom_b);
  int32_t power_b = (12 - headroom_b) * (1 << 25) - quarter;
  int32_t r = tinyopt_min(r_a, r_b);
  int32_t power = tinyopt_max(power_a, power_b);
  int32_t p = half_sum(r, fourth_root_half);
  int32_t q = 2 * (r - fourth_root_half);
  int32_t square = tinyopt_fixed_multiply(q, q);
  int32_t numerator =
      tinyopt_fixed_multiply(q, r) + tinyopt_fixed_multiply(tinyopt_fixed_multiply(q, square), 117049297);
  int32_t denominator = tinyopt_fixed_multiply(p, 1057819769 + q + tinyopt_fixed_multiply(square, 127690142)) +
                        tinyopt_fixed_multiply(q, 638450708);
  int32_t quotient =
      tinyopt_fixed_multiply(tinyopt_rounding_shift_right(numerator, 6), tinyopt_one_over_one_plus_x(denominator));
  return tinyopt_saturating_shift_left(tinyopt_fixed_multiply(power, log_2) + quotient, 1);
}

static int32_t largest_of(const int8_t *row, int32_t depth) {
  int32_t largest = row[0];
  for (int32_t i = 1; i < depth; ++i) {
    largest = tinyopt_max(largest, row[i]);
  }
  return largest;
}

void tinyopt_log_softmax_s8_ref(const tinyopt_log_softmax_s8 *op, const int8_t *input, int8_t *output) {
  const int32_t lowest = -32 * (1 << op->output_bits);
  for (int32_t row = 0; row < op->rows; ++row) {
    int32_t largest = largest_of(input, op->depth);
    int32_t sum = 0;
    for (int32_t i = 0; i < op->depth; ++i) {
      int32_t difference = input[i] - largest;
      if (difference >= op->least_difference) {
        int32_t exponential =
            tinyopt_exp_on_negative_values(tinyopt_requantize(difference, op->input_multiplier, op->input_shift));
        sum += tinyopt_rounding_shift_right(exponential, 12);
      }
    }
    int32_t logarithm = log_of_at_least_one(sum);
    int32_t least = tinyopt_max(op->least_difference - 1,
                                tinyopt_requantize(logarithm + INT32_MIN, op->reverse_multiplier, op->reverse_shift));
    for (int32_t i = 0; i < op->depth; ++i) {
      int32_t difference = input[i] - largest;
      int32_t value = lowest;
      if (difference > least) {
        value = tinyopt_rounding_shift_right(
            tinyopt_requantize(difference, op->input_multiplier, op->input_shift) - logarithm, 26 - op->output_bits);
      }
      output[i] = tinyopt_requantize_s8(value, op->multiplier, op->shift, op->output_zero_point, INT8_MIN, INT8_MAX);
    }
    input += op->depth;
    output += op->depth;
  }
}
