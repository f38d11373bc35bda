/* Functions of one float32 value. One file and one function each, so that a program has only what it uses.
 *
 * input float32 [size], output float32 [size]. The C library's float functions; results agree with the float executor
 * within a few units in the last place. The output may be the memory of the input.
 */
#ifndef TINYOPT_UNARY_F32_H
#define TINYOPT_UNARY_F32_H

#include "common.h"

typedef struct {
  int32_t size;
  float alpha; /* of elu and leaky_relu */
} tinyopt_unary_f32;

/* 1 / (1 + exp(-x)). */
void tinyopt_logistic_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* The hyperbolic tangent. */
void tinyopt_tanh_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* x * clamp(x + 3, 0, 6) / 6. */
void tinyopt_hard_swish_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* clamp(x / 6 + 1/2, 0, 1). */
void tinyopt_hard_sigmoid_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* x * Phi(x), exact. */
void tinyopt_gelu_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* The tanh approximation of x * Phi(x). */
void tinyopt_gelu_tanh_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* x / (1 + exp(-x)). */
void tinyopt_silu_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* x where x >= 0, else alpha * (exp(x) - 1). */
void tinyopt_elu_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* log(1 + exp(x)), without overflow. */
void tinyopt_softplus_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* x where x >= 0, else alpha * x. */
void tinyopt_leaky_relu_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* |x|. */
void tinyopt_abs_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* -x. */
void tinyopt_neg_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* exp(x). */
void tinyopt_exp_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* The natural logarithm. */
void tinyopt_log_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* The square root. */
void tinyopt_sqrt_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* 1 / sqrt(x). */
void tinyopt_rsqrt_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* x * x. */
void tinyopt_square_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* The error function. */
void tinyopt_erf_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* 1 where x >= 0, else -1. */
void tinyopt_sign_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

/* 1 where x > 0, -1 where x < 0, else 0. */
void tinyopt_signum_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output);

#endif
