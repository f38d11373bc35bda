#include "dynamic.h"

#define SMALLEST_RANGE 8.0779357e-28f /* 2^-90 */
#define FRACTION 22                   /* bits behind the point of a product: 255 * 2^22 fits */

static int32_t bits_of(float value) {
  int32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float from_bits(int32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static bool is_finite(float value) {
  return (bits_of(value) & 0x7F800000) != 0x7F800000;
}

/* The order of floats is that of these integers, and the function is its own inverse. NaN lies beyond infinity. */
static int32_t ordered(int32_t bits) {
  return bits ^ ((bits >> 31) & 0x7FFFFFFF);
}

/* Comparing integers is as fast as it gets, also on cores without a floating-point unit. */
static float largest_magnitude(const float *input, int32_t size) {
  int32_t largest = 0;
  for (int32_t i = 0; i < size; ++i) {
    largest = tinyopt_max(largest, bits_of(input[i]) & 0x7FFFFFFF);
  }
  return from_bits(largest);
}

static int32_t round_to_s8(float value) {
  int32_t whole = (int32_t)value;
  float rest = value - (float)whole;
  return whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
}

/* The zero point of a range from low <= 0 to high >= 0. */
static int32_t zero_point(float low, float high, float scale) {
  float below = low / scale;
  float above = high / scale;
  float point = 128.0f - below < 127.0f + above ? -128.0f - below : 127.0f - above;
  return round_to_s8(tinyopt_clamp_f32(point, -128.0f, 127.0f));
}

static void round_all(const float *input, int32_t size, float factor, int32_t point, int32_t lowest, int8_t *output) {
  int32_t offset = point * (1 << FRACTION) + (1 << (FRACTION - 1));
  for (int32_t i = 0; i < size; ++i) {
    int32_t fixed = (int32_t)(input[i] * factor) + offset;
    /* Negative sums are lowered by the smallest step, so that their halves round down. */
    fixed = (fixed + ((fixed - (1 << (FRACTION - 1))) >> 31)) >> FRACTION;
    output[i] = (int8_t)tinyopt_clamp(fixed, lowest, INT8_MAX);
  }
}

tinyopt_range tinyopt_quantize_range(const float *input, int32_t size, bool symmetric, int8_t *output) {
  float low = 0.0f;
  float high = 0.0f;
  if (symmetric) {
    high = largest_magnitude(input, size);
  } else {
    int32_t smallest = 0;
    int32_t largest = 0;
    for (int32_t i = 0; i < size; ++i) {
      int32_t key = ordered(bits_of(input[i]));
      smallest = tinyopt_min(smallest, key);
      largest = tinyopt_max(largest, key);
    }
    low = from_bits(ordered(smallest));
    high = from_bits(largest);
  }
  float range = high - low;
  if (!is_finite(range) || range < SMALLEST_RANGE) {
    memset(output, 0, (size_t)size);
    return (tinyopt_range){is_finite(range) ? 1.0f : from_bits(0x7FC00000), 0};
  }
  tinyopt_range result = {range / (symmetric ? 127.0f : 255.0f), 0};
  float inverse = symmetric ? 127.0f / range : 1.0f / result.scale;
  if (!symmetric) {
    result.zero_point = zero_point(low, high, result.scale);
  }
  round_all(input, size, inverse * (float)(1 << FRACTION), result.zero_point, symmetric ? -127 : -128, output);
  return result;
}
