/* Elementwise sum or difference of int8 tensors with broadcasting.
 *
 * a, b int8 of any shapes that broadcast; output int8 of the broadcast shape. a is the operand with the larger scale,
 * the model's first or second.
 *
 * Both operands are brought to twice the larger scale, 20 bits up: A = requantize((a - a_zero_point) * 2^20, 1/2),
 * which is (a - a_zero_point) * 2^19 exactly, and B = requantize((b - b_zero_point) * 2^20, b_multiplier, b_shift).
 * Then output = clamp(requantize(±A ± B, output) + output_zero_point). This equals TensorFlow Lite Micro's ADD and SUB
 * bit for bit.
 *
 * Pointers need no alignment. The output may be the memory of an input that has the output's shape.
 */
#ifndef TINYOPT_ADD_S8_H
#define TINYOPT_ADD_S8_H

#include "broadcast.h"
#include "common.h"

typedef struct {
  const int8_t *constant; /* the operand that is no activation, or NULL */
  int32_t constant_first; /* 1: the constant is a; 0: it is b */
  tinyopt_broadcast broadcast;
  int32_t a_factor; /* 2^19, or -2^19 where a is subtracted */
  int32_t a_offset; /* -a_zero_point * a_factor */
  int32_t b_zero_point;
  int32_t b_multiplier;
  int32_t b_shift; /* never to the left */
  int32_t b_sign;  /* 1, or -1 where b is subtracted */
  int32_t output_multiplier;
  int32_t output_shift;
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_add_s8;

/* Portable C; two activations. */
void tinyopt_add_s8_ref(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

/* Portable C; one activation and the constant. */
void tinyopt_add_s8_constant_ref(const tinyopt_add_s8 *op, const int8_t *input, int8_t *output);

/* Portable C; two activations of the output's shape (one row, in broadcast.columns), for quantizations of which
 * tinyopt/plan/linear_sum.py proves that the definition above equals
 * output = clamp_low + clamp((a * a_factor + b * b_multiplier + a_offset) >> output_shift, 0, clamp_high - clamp_low),
 * within 32 bits. The other fields are not read. */
void tinyopt_add_s8_linear(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

/* The same with the Arm DSP extension, for a clamp of -128 to 127. */
void tinyopt_add_s8_linear_dsp(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

/* The same with Helium (MVE), for any clamp; sums of part of the terms may leave 32 bits and wrap. */
void tinyopt_add_s8_linear_mve(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

/* Arm DSP extension: two activations of the output's shape (one row, in broadcast.columns); the output's shift is to
 * the right. */
void tinyopt_add_s8_dsp(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

/* As dsp, where clamp_low is at least the output's zero point, and the output's shift no further than 22. */
void tinyopt_add_s8_dsp_relu(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

/* Helium (MVE): as dsp. */
void tinyopt_add_s8_mve(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

#endif
