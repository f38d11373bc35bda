/* Elementwise product of int16 tensors with broadcasting.
 *
 * a, b int16 of any shapes that broadcast; output int16 of the broadcast shape.
 *
 * All zero points are 0. output = clamp(requantize(a * b, multiplier, shift)), the
 * multiplier being a_scale * b_scale / output_scale. This equals TensorFlow Lite Micro's MUL bit for bit.
 *
 * Pointers are aligned to two bytes. The output may be the memory of an input that has the output's shape.
 */
#ifndef TINYOPT_MUL_S16_H
#define TINYOPT_MUL_S16_H

#include "broadcast.h"
#include "common.h"

typedef struct {
  const int16_t *constant; /* the operand that is no activation, or NULL */
  int32_t constant_first;  /* 1: the constant is a; 0: it is b */
  tinyopt_broadcast broadcast;
  int32_t multiplier;
  int32_t shift;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_mul_s16;

/* Portable C; two activations. */
void tinyopt_mul_s16_ref(const tinyopt_mul_s16 *op, const int16_t *a, const int16_t *b, int16_t *output);

/* Portable C; one activation and the constant. */
void tinyopt_mul_s16_constant_ref(const tinyopt_mul_s16 *op, const int16_t *input, int16_t *output);

#endif
