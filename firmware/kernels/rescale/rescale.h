/* Quantized integers to another scale, zero point or type.
 *
 * input [size] and output [size] of int8, uint8, int16 or int32.
 *
 * output = clamp(requantize(input - input_zero_point, multiplier, shift) + output_zero_point) to the range of the
 * output's type; the multiplier is input_scale / output_scale. This equals TensorFlow Lite Micro's QUANTIZE bit for
 * bit. Pointers to 8-bit elements need no alignment. The output may be the memory of the input where the element sizes
 * are equal.
 */
#ifndef TINYOPT_RESCALE_H
#define TINYOPT_RESCALE_H

#include "common.h"

typedef struct {
  int32_t size;
  int32_t input_zero_point;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
} tinyopt_rescale;

/* The requantized value before the output's limits; sums wrap modulo 2^32. */
static inline int32_t tinyopt_requantized(const tinyopt_rescale *op, int32_t value) {
  int32_t centred = (int32_t)((uint32_t)value - (uint32_t)op->input_zero_point);
  int32_t rescaled = tinyopt_requantize(centred, op->multiplier, op->shift);
  return (int32_t)((uint32_t)rescaled + (uint32_t)op->output_zero_point);
}

/* Portable C, one function for each pair of types: input, then output. */
void tinyopt_rescale_s8_s8_ref(const tinyopt_rescale *op, const int8_t *input, int8_t *output);
void tinyopt_rescale_s8_u8_ref(const tinyopt_rescale *op, const int8_t *input, uint8_t *output);
void tinyopt_rescale_s8_s16_ref(const tinyopt_rescale *op, const int8_t *input, int16_t *output);
void tinyopt_rescale_s8_s32_ref(const tinyopt_rescale *op, const int8_t *input, int32_t *output);
void tinyopt_rescale_u8_s8_ref(const tinyopt_rescale *op, const uint8_t *input, int8_t *output);
void tinyopt_rescale_u8_u8_ref(const tinyopt_rescale *op, const uint8_t *input, uint8_t *output);
void tinyopt_rescale_u8_s16_ref(const tinyopt_rescale *op, const uint8_t *input, int16_t *output);
void tinyopt_rescale_u8_s32_ref(const tinyopt_rescale *op, const uint8_t *input, int32_t *output);
void tinyopt_rescale_s16_s8_ref(const tinyopt_rescale *op, const int16_t *input, int8_t *output);
void tinyopt_rescale_s16_u8_ref(const tinyopt_rescale *op, const int16_t *input, uint8_t *output);
void tinyopt_rescale_s16_s16_ref(const tinyopt_rescale *op, const int16_t *input, int16_t *output);
void tinyopt_rescale_s16_s32_ref(const tinyopt_rescale *op, const int16_t *input, int32_t *output);
void tinyopt_rescale_s32_s8_ref(const tinyopt_rescale *op, const int32_t *input, int8_t *output);
void tinyopt_rescale_s32_u8_ref(const tinyopt_rescale *op, const int32_t *input, uint8_t *output);
void tinyopt_rescale_s32_s16_ref(const tinyopt_rescale *op, const int32_t *input, int16_t *output);
void tinyopt_rescale_s32_s32_ref(const tinyopt_rescale *op, const int32_t *input, int32_t *output);

#endif
