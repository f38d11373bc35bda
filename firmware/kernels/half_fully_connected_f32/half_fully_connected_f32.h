/* Fully connected layer, float32 activations, weights in half precision: fully_connected_f32.h with weights that are
 * widened as they are multiplied. Sums are those of fully_connected_f32_ref.
 *
 * Input and output must not overlap. No scratch.
 */
#ifndef TINYOPT_HALF_FULLY_CONNECTED_F32_H
#define TINYOPT_HALF_FULLY_CONNECTED_F32_H

#include "fully_connected_f32.h"
#include "half.h"

typedef struct {
  const uint16_t *weights;           /* [output_size][input_size] */
  tinyopt_fully_connected_f32 dense; /* without weights */
} tinyopt_half_fully_connected_f32;

void tinyopt_half_fully_connected_f32_ref(const tinyopt_half_fully_connected_f32 *op, const float *input,
                                          float *output);

#endif
