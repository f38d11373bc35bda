#include "prelu_f32.h"

void tinyopt_prelu_f32_ref(const tinyopt_prelu_f32 *op, const float *input, float *output) {
  tinyopt_broadcast_row row = {0};
  do {
    const float *source = input + row.a;
    const float *alpha = op->alpha + row.b;
    for (int32_t i = 0; i < op->broadcast.columns; ++i) {
      *output++ = *source >= 0.0f ? *source : *source * *alpha;
      source += op->broadcast.a_step;
      alpha += op->broadcast.b_step;
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}
