/* Elementwise arithmetic of float32 tensors with broadcasting.
 *
 * a, b float32 of any shapes that broadcast; output float32 of the broadcast shape: a operation b, clamped to
 * clamp_low .. clamp_high (an open side is the largest float). One IEEE operation an element.
 *
 * The output may be the memory of an input that has the output's shape.
 */
#ifndef TINYOPT_BINARY_F32_H
#define TINYOPT_BINARY_F32_H

#include "broadcast.h"
#include "common.h"

enum { TINYOPT_ADD, TINYOPT_SUB, TINYOPT_MUL, TINYOPT_DIV, TINYOPT_MINIMUM, TINYOPT_MAXIMUM };

typedef struct {
  const float *constant;  /* the operand that is no activation, or NULL */
  int32_t constant_first; /* 1: the constant is a; 0: it is b */
  tinyopt_broadcast broadcast;
  int32_t operation; /* TINYOPT_ADD … TINYOPT_MAXIMUM */
  int32_t clamped;   /* 0: the limits are not read, and NaN and infinities pass */
  float clamp_low;
  float clamp_high;
} tinyopt_binary_f32;

/* Portable C; two activations. */
void tinyopt_binary_f32_ref(const tinyopt_binary_f32 *op, const float *a, const float *b, float *output);

/* Portable C; one activation and the constant. */
void tinyopt_binary_f32_constant_ref(const tinyopt_binary_f32 *op, const float *input, float *output);

#endif
