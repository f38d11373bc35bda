/* Limits on float32 values: a stand-alone relu, relu6 or clip.
 *
 * input float32 [size], output float32 [size]; output = clamp(input, clamp_low, clamp_high); an open side is the
 * largest float. The output may be the memory of the input.
 */
#ifndef TINYOPT_CLIP_F32_H
#define TINYOPT_CLIP_F32_H

#include "common.h"

typedef struct {
  int32_t size;
  float clamp_low;
  float clamp_high;
} tinyopt_clip_f32;

/* Portable C. */
void tinyopt_clip_f32_ref(const tinyopt_clip_f32 *op, const float *input, float *output);

#endif
