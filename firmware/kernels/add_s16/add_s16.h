/* Elementwise sum or difference of int16 tensors with broadcasting.
 *
 * a, b int16 of any shapes that broadcast; output int16 of the broadcast shape.
 *
 * output = clamp(requantize(A + b_sign * B, output) + output_zero_point), where
 * A = requantize((a - a_zero_point) * 2^15, a multiplier), and B likewise: both are brought to twice the larger input
 * scale, 15 bits up. This equals TensorFlow Lite Micro's ADD and SUB bit for bit.
 *
 * Pointers are aligned to two bytes. The output may be the memory of an input that has the output's shape.
 */
#ifndef TINYOPT_ADD_S16_H
#define TINYOPT_ADD_S16_H

#include "broadcast.h"
#include "common.h"

typedef struct {
  const int16_t *constant; /* the operand that is no activation, or NULL */
  int32_t constant_first;  /* 1: the constant is a; 0: it is b */
  tinyopt_broadcast broadcast;
  int32_t a_zero_point;
  int32_t a_multiplier;
  int32_t a_shift;
  int32_t b_zero_point;
  int32_t b_multiplier;
  int32_t b_shift;
  int32_t b_sign; /* 1: a + b; -1: a - b */
  int32_t output_multiplier;
  int32_t output_shift;
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_add_s16;

/* Portable C; two activations. */
void tinyopt_add_s16_ref(const tinyopt_add_s16 *op, const int16_t *a, const int16_t *b, int16_t *output);

/* Portable C; one activation and the constant. */
void tinyopt_add_s16_constant_ref(const tinyopt_add_s16 *op, const int16_t *input, int16_t *output);

#endif
