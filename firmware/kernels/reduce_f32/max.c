#include "reduce_f32.h"

static float largest_of(const tinyopt_reduction *shape, const float *first) {
  float largest = *first;
  for (int32_t i = 0; i < shape->reduced_size[0]; ++i) {
    for (int32_t j = 0; j < shape->reduced_size[1]; ++j) {
      const float *value = first + i * shape->reduced_step[0] + j * shape->reduced_step[1];
      for (int32_t k = 0; k < shape->reduced_size[2]; ++k) {
        if (*value > largest) {
          largest = *value;
        }
        value += shape->reduced_step[2];
      }
    }
  }
  return largest;
}

void tinyopt_reduce_max_f32_ref(const tinyopt_reduce_f32 *op, const float *input, float *output) {
  const tinyopt_reduction *shape = &op->shape;
  for (int32_t i = 0; i < shape->kept_size[0]; ++i) {
    for (int32_t j = 0; j < shape->kept_size[1]; ++j) {
      for (int32_t k = 0; k < shape->kept_size[2]; ++k) {
        int32_t at = i * shape->kept_step[0] + j * shape->kept_step[1] + k * shape->kept_step[2];
        *output++ = largest_of(shape, input + at);
      }
    }
  }
}
