/* Fully connected layer, int8 activations and weights.
 *
 * input  int8 [rows][input_size], output int8 [rows][output_size]
 *
 * output[r][o] = clamp(requantize(sum, multipliers[o], shifts[o]) + output_zero_point), where
 * sum = bias[o] + sum over i of weights[o][i] * input[r][i], modulo 2^32. The bias holds the model's bias minus the
 * input zero point times the sum of the row of weights. With one weight scale for the whole layer, its product with
 * the input scale is rounded to float32 before the multiplier is made (the convolutions do not round it). This equals
 * TensorFlow Lite Micro's reference kernel bit for bit.
 *
 * Pointers need no alignment beyond their element type. Input and output must not overlap. No scratch.
 */
#ifndef TINYOPT_FULLY_CONNECTED_S8_H
#define TINYOPT_FULLY_CONNECTED_S8_H

#include "common.h"

typedef struct {
  const int8_t *weights;      /* in the kernel's own order */
  const int32_t *bias;        /* [output_size], input zero point folded in */
  const int32_t *multipliers; /* [output_size], or [1] when per_channel is 0 */
  const int8_t *shifts;       /* as multipliers */
  int32_t per_channel;        /* 1: a multiplier for every output; 0: one for all */
  int32_t rows;
  int32_t input_size;
  int32_t output_size;
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_fully_connected_s8;

/* Portable C. weights: [output_size][input_size]. */
void tinyopt_fully_connected_s8_ref(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);

/* Portable C and Armv6-M assembly, four outputs at a time. weights: [ceil(output_size / 4)][input_size][4], aligned to
 * four, missing outputs zero; every sum is below 2^23, every shift to the right. */
void tinyopt_fully_connected_s8_quads(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);

/* Arm DSP extension. weights: the rows of blocks of four outputs interleaved by four weights, the rows of the last up
 * to three outputs behind them; every row is padded with zeros to a multiple of four. Every sum is below 2^30, every
 * shift to the right. */
void tinyopt_fully_connected_s8_dsp(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);

/* Arm DSP extension, eight outputs at a time: input_size a multiple of four, output_size of eight. weights: the stream
 * of words described in dsp_8.c, aligned to four bytes, which holds bias, multipliers and shifts too (those fields are
 * not read). */
void tinyopt_fully_connected_s8_dsp_8(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);

/* Helium (MVE), four outputs at a time; every shift to the right. weights: the stream of bytes of blocks_mve.h with one
 * run, aligned to four, which holds bias, multipliers and shifts too (those fields are not read). */
void tinyopt_fully_connected_s8_mve(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);

#endif
