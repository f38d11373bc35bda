/* float32 to quantized integers.
 *
 * input float32 [size], output int8, uint8, int16 or int32 [size].
 *
 * output = clamp(round(input / scale) + zero_point) to the range of the type; the division is in float32, halves round
 * away from zero, NaN counts as real zero. This equals TensorFlow Lite Micro's QUANTIZE bit for bit (int8, int16). The
 * zero point of an int32 output is 0. The output may be the memory of the input.
 */
#ifndef TINYOPT_QUANTIZE_H
#define TINYOPT_QUANTIZE_H

#include "common.h"

typedef struct {
  int32_t size;
  float scale;
  int32_t zero_point;
} tinyopt_quantize;

/* value rounded to nearest, halves away from zero, saturated to int32; 0 for NaN. */
static inline int32_t tinyopt_quantize_round(float value) {
  if (value >= 2147483648.0f) {
    return INT32_MAX;
  }
  if (value <= -2147483648.0f) {
    return INT32_MIN;
  }
  if (!(value == value)) {
    return 0;
  }
  int32_t whole = (int32_t)value;
  float rest = value - (float)whole;
  return whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
}

/* Portable C, one function for each output type. */
void tinyopt_quantize_s8_ref(const tinyopt_quantize *op, const float *input, int8_t *output);
void tinyopt_quantize_u8_ref(const tinyopt_quantize *op, const float *input, uint8_t *output);
void tinyopt_quantize_s16_ref(const tinyopt_quantize *op, const float *input, int16_t *output);
void tinyopt_quantize_s32_ref(const tinyopt_quantize *op, const float *input, int32_t *output);

#endif
