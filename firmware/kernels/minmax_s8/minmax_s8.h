/* Elementwise maximum or minimum of int8 tensors with broadcasting.
 *
 * a, b int8 of any shapes that broadcast; output int8 of the broadcast shape.
 *
 * An input whose quantization differs from the output's is first requantized to it (and clamped to int8); then the
 * integers are compared. With one quantization for all three, this equals TensorFlow Lite Micro's MAXIMUM and MINIMUM.
 *
 * Pointers need no alignment. The output may be the memory of an input that has the output's shape.
 */
#ifndef TINYOPT_MINMAX_S8_H
#define TINYOPT_MINMAX_S8_H

#include "broadcast.h"
#include "common.h"

typedef struct {
  const int8_t *constant;      /* the operand that is no activation, with the output's quantization, or NULL */
  tinyopt_broadcast broadcast; /* the constant is b */
  int32_t maximum;             /* 1: the larger; 0: the smaller */
  int32_t rescale;             /* 0: both inputs have the output's quantization, and nothing below is read */
  int32_t a_zero_point;
  int32_t a_multiplier;
  int32_t a_shift;
  int32_t b_zero_point;
  int32_t b_multiplier;
  int32_t b_shift;
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_minmax_s8;

/* Portable C; two activations. */
void tinyopt_minmax_s8_ref(const tinyopt_minmax_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

/* Portable C; one activation and the constant. */
void tinyopt_minmax_s8_constant_ref(const tinyopt_minmax_s8 *op, const int8_t *input, int8_t *output);

#endif
