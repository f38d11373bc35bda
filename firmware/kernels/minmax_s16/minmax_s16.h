/* Elementwise maximum or minimum of int16 tensors with broadcasting.
 *
 * a, b int16 of any shapes that broadcast; output int16 of the broadcast shape.
 *
 * The integers are compared; all three tensors have one quantization. This equals TensorFlow Lite Micro's MAXIMUM and
 * MINIMUM.
 *
 * Pointers are aligned to two bytes. The output may be the memory of an input that has the output's shape.
 */
#ifndef TINYOPT_MINMAX_S16_H
#define TINYOPT_MINMAX_S16_H

#include "broadcast.h"
#include "common.h"

typedef struct {
  const int16_t *constant;     /* the operand that is no activation, or NULL */
  tinyopt_broadcast broadcast; /* the constant is b */
  int32_t maximum;             /* 1: the larger; 0: the smaller */
  int32_t clamp_low;           /* on the output's integers */
  int32_t clamp_high;
} tinyopt_minmax_s16;

/* Portable C; two activations. */
void tinyopt_minmax_s16_ref(const tinyopt_minmax_s16 *op, const int16_t *a, const int16_t *b, int16_t *output);

/* Portable C; one activation and the constant. */
void tinyopt_minmax_s16_constant_ref(const tinyopt_minmax_s16 *op, const int16_t *input, int16_t *output);

#endif
