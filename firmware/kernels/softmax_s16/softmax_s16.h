/* Softmax over the last axis of an int16 tensor.
 *
 * input int16 [rows][depth], zero point 0; output int16 [rows][depth], scale 2^-15, zero point 0; depth < 65536.
 *
 * With d = input - largest input of the row, brought to steps of 10 / 65535: e = exp(d) in Q0.15 from a table of 513
 * entries with linear interpolation; the reciprocal of the sum, brought to [1, 2), from a second such table of
 * 1 / (1 + x); output = their product, rounded. This equals TensorFlow Lite Micro's int16 SOFTMAX bit for bit.
 *
 * Pointers are aligned to two bytes. The output may be the memory of the input.
 */
#ifndef TINYOPT_SOFTMAX_S16_H
#define TINYOPT_SOFTMAX_S16_H

#include "common.h"
#include "fixed_point.h"

typedef struct {
  const int16_t *exponential; /* [513]: exp(10 (i - 512) / 512) in Q0.15 */
  const int16_t *reciprocal;  /* [513]: 1 / (1 + i / 512) in Q0.15 */
  int32_t rows;
  int32_t depth;
  int32_t multiplier; /* from input steps to steps of 10 / 65535 */
  int32_t shift;
} tinyopt_softmax_s16;

/* Portable C. */
void tinyopt_softmax_s16_ref(const tinyopt_softmax_s16 *op, const int16_t *input, int16_t *output);

#endif
