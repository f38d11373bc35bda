/* Depthwise convolution, float32 activations, weights in half precision: depthwise_conv2d_f32.h with weights that are
 * widened first, all of them: they are few.
 *
 * scratch: all weights as float32. Input and output must not overlap.
 */
#ifndef TINYOPT_HALF_DEPTHWISE_CONV2D_F32_H
#define TINYOPT_HALF_DEPTHWISE_CONV2D_F32_H

#include "depthwise_conv2d_f32.h"
#include "half.h"

typedef struct {
  const uint16_t *weights;            /* [kernel_height][kernel_width][input_channels * multiplier] */
  tinyopt_depthwise_conv2d_f32 dense; /* without weights */
} tinyopt_half_depthwise_conv2d_f32;

void tinyopt_half_depthwise_conv2d_f32_ref(const tinyopt_half_depthwise_conv2d_f32 *op, const float *input,
                                           float *output, void *scratch);

#endif
