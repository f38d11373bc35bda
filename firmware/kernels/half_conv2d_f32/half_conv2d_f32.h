/* 2-D convolution, float32 activations, weights in half precision: conv2d_f32.h with weights that are widened, some
 * output channels at a time. Sums are those of conv2d_f32_ref.
 *
 * scratch: the weights of `block` output channels as float32. Input and output must not overlap.
 */
#ifndef TINYOPT_HALF_CONV2D_F32_H
#define TINYOPT_HALF_CONV2D_F32_H

#include "conv2d_f32.h"
#include "half.h"

typedef struct {
  const uint16_t *weights;  /* [output_channels][kernel_height][kernel_width][input_channels / groups] */
  tinyopt_conv2d_f32 dense; /* without weights */
  int32_t block;            /* output channels whose weights are widened together, at least 1 */
} tinyopt_half_conv2d_f32;

void tinyopt_half_conv2d_f32_ref(const tinyopt_half_conv2d_f32 *op, const float *input, float *output, void *scratch);

#endif
