/* Limits on int16 values: a stand-alone relu, relu6 or clip.
 *
 * input int16 [size], output int16 [size]; output = clamp(input, clamp_low, clamp_high), where input and output differ
 * in quantization (rescale) of the requantized input. This equals TensorFlow Lite Micro's RELU and RELU6.
 *
 * Pointers are aligned to two bytes; the output may be the memory of the input.
 */
#ifndef TINYOPT_CLIP_S16_H
#define TINYOPT_CLIP_S16_H

#include "common.h"

typedef struct {
  int32_t size;
  int32_t rescale; /* 0: the fields up to output_zero_point are not read */
  int32_t input_zero_point;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_clip_s16;

/* Portable C. */
void tinyopt_clip_s16_ref(const tinyopt_clip_s16 *op, const int16_t *input, int16_t *output);

#endif
