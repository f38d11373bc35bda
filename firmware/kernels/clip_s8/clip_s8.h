/* Limits on int8 values: a stand-alone relu, relu6 or clip with one quantization for input and output.
 *
 * input int8 [size], output int8 [size]; output = clamp(input, clamp_low, clamp_high).
 *
 * Pointers need no alignment; the output may be the memory of the input.
 */
#ifndef TINYOPT_CLIP_S8_H
#define TINYOPT_CLIP_S8_H

#include "common.h"

typedef struct {
  int32_t size;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_clip_s8;

/* Portable C. */
void tinyopt_clip_s8_ref(const tinyopt_clip_s8 *op, const int8_t *input, int8_t *output);

#endif
