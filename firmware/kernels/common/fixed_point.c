#include "fixed_point.h"

#if defined(__ARM_ARCH_6M__)
int32_t tinyopt_fixed_multiply(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}
#endif

int32_t tinyopt_requantize_called(int32_t value, int32_t multiplier, int shift) {
  return tinyopt_requantize(value, multiplier, shift);
}

int32_t tinyopt_exp_on_negative_values(int32_t a) {
  /* exp(-2^(k - 2)) in Q0, k = 0 to 6: the bits of |a| above a quarter select their factors. */
  static const int32_t powers[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  const int32_t exp_minus_eighth = 1895147668;
  const int32_t one_third = 715827883;
  const int32_t quarter = 1 << 24;
  if (a == 0) {
    return INT32_MAX;
  }
  /* A Taylor polynomial of fourth order about -1/8 serves -1/4 <= a mod 1/4 - 1/4 < 0. */
  int32_t modulo = (a & (quarter - 1)) - quarter;
  int32_t x = modulo * (1 << 5) + (1 << 28);
  int32_t x2 = tinyopt_fixed_multiply(x, x);
  int32_t x3 = tinyopt_fixed_multiply(x2, x);
  int32_t x4 = tinyopt_fixed_multiply(x2, x2);
  int32_t tail = tinyopt_fixed_multiply(tinyopt_rounding_shift_right(x4, 2) + x3, one_third) + x2;
  int32_t polynomial = x + tinyopt_rounding_shift_right(tail, 1);
  int32_t result = exp_minus_eighth + tinyopt_fixed_multiply(polynomial, exp_minus_eighth);
  int32_t remainder = modulo - a;
  for (int k = 0; k < 7; ++k) {
    if (remainder & (quarter << k)) {
      result = tinyopt_fixed_multiply(result, powers[k]);
    }
  }
  return result;
}

int32_t tinyopt_one_over_one_plus_x(int32_t a) {
  /* Newton-Raphson for 1 / ((1 + a) / 2) in Q2, from the linear guess 48/17 - 32/17 d. */
  int32_t denominator = (int32_t)(((int64_t)a + INT32_MAX + 1) >> 1);
  int32_t x = 1515870810 + tinyopt_fixed_multiply(denominator, -1010580540);
  for (int step = 0; step < 3; ++step) {
    int32_t error = (1 << 29) - tinyopt_fixed_multiply(denominator, x);
    x += tinyopt_saturating_shift_left(tinyopt_fixed_multiply(x, error), 2);
  }
  return tinyopt_saturating_shift_left(x, 1);
}
