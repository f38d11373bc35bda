#include "layer_norm_f32.h"

#include <math.h>

void tinyopt_layer_norm_f32_ref(const tinyopt_layer_norm_f32 *op, const float *input, float *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    float sum = 0.0f;
    for (int32_t i = 0; i < op->depth; ++i) {
      sum += input[i];
    }
    float mean = sum / (float)op->depth;
    float squares = 0.0f;
    for (int32_t i = 0; i < op->depth; ++i) {
      squares += (input[i] - mean) * (input[i] - mean);
    }
    float inverse = 1.0f / sqrtf(squares / (float)op->depth + op->epsilon);
    for (int32_t i = 0; i < op->depth; ++i) {
      output[i] = (input[i] - mean) * inverse * op->gamma[i] + op->beta[i];
    }
    input += op->depth;
    output += op->depth;
  }
}
