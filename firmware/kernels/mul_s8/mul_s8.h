/* Elementwise product of int8 tensors with broadcasting.
 *
 * a, b int8 of any shapes that broadcast; output int8 of the broadcast shape.
 *
 * output = clamp(requantize((a - a_zero_point) * (b - b_zero_point), multiplier, shift) + output_zero_point), the
 * multiplier being a_scale * b_scale / output_scale. This equals TensorFlow Lite Micro's MUL bit for bit.
 *
 * Pointers need no alignment. The output may be the memory of an input that has the output's shape.
 */
#ifndef TINYOPT_MUL_S8_H
#define TINYOPT_MUL_S8_H

#include "broadcast.h"
#include "common.h"

typedef struct {
  const int8_t *constant; /* the operand that is no activation, or NULL */
  int32_t constant_first; /* 1: the constant is a; 0: it is b */
  tinyopt_broadcast broadcast;
  int32_t a_zero_point;
  int32_t b_zero_point;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_mul_s8;

/* Portable C; two activations. */
void tinyopt_mul_s8_ref(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

/* Portable C; one activation and the constant. */
void tinyopt_mul_s8_constant_ref(const tinyopt_mul_s8 *op, const int8_t *input, int8_t *output);

/* Portable C; the shift is to the right. */
void tinyopt_mul_s8_narrow(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);
void tinyopt_mul_s8_constant_narrow(const tinyopt_mul_s8 *op, const int8_t *input, int8_t *output);

/* Arm DSP extension: as ref, every shift to the right. */
void tinyopt_mul_s8_dsp(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);
void tinyopt_mul_s8_constant_dsp(const tinyopt_mul_s8 *op, const int8_t *input, int8_t *output);

/* Helium (MVE): as dsp. */
void tinyopt_mul_s8_mve(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);
void tinyopt_mul_s8_constant_mve(const tinyopt_mul_s8 *op, const int8_t *input, int8_t *output);

#endif
