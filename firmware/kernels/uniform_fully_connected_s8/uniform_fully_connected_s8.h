/* Fully connected layer, int8 activations, weights low + step * code with codes of 1, 2 or 4 bits, which are multiplied
 * as they are: int4, ternary, binary.
 *
 * input  int8 [rows][input_size], output int8 [rows][output_size]; the sums, their requantization and so the result are
 * those of fully_connected_s8.h, bit for bit:
 *   sum over i of (low + step * code[o][i]) * x[i] = low * (sum of x) + step * (sum of code[o][i] * x[i]),
 * and the first term is the same for all outputs.
 *
 * Kernels for groups take weights multiplier * (low + step * code), where `group` inputs in a row share a multiplier
 * from 1 to 15 for each output; the sums of the groups are multiplied.
 *
 * The number in a kernel's name is the bits of a code. Outputs come in blocks of eight, the last one filled
 * up. Pointers need no alignment beyond their element type. Input and output must not overlap.
 */
#ifndef TINYOPT_UNIFORM_FULLY_CONNECTED_S8_H
#define TINYOPT_UNIFORM_FULLY_CONNECTED_S8_H

#include "common.h"

typedef struct {
  const uint32_t *codes;      /* in the kernel's own order */
  const int32_t *bias;        /* [output_size], input zero point folded in */
  const int32_t *multipliers; /* [output_size], or [1] when per_channel is 0 */
  const int8_t *shifts;       /* as multipliers */
  int32_t per_channel;        /* 1: a multiplier for every output; 0: one for all */
  int32_t rows;
  int32_t input_size;
  int32_t output_size;
  int32_t step;
  int32_t low;
  const uint32_t *group_multipliers; /* per eight outputs, per group: four bits for each output; NULL: no groups */
  int32_t group;                     /* inputs, the last group may have fewer */
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_uniform_fully_connected_s8;

/* Portable C and Armv6-M assembly; every sum is below 2^23, every shift to the right. codes: pairs.c. No scratch. */
void tinyopt_uniform_fully_connected_s8_pairs_4(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                                int8_t *output);
void tinyopt_uniform_fully_connected_s8_pairs_2(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                                int8_t *output);
void tinyopt_uniform_fully_connected_s8_pairs_1(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                                int8_t *output);

/* As pairs_4, with groups of any size. */
void tinyopt_uniform_fully_connected_s8_pairs_4_groups(const tinyopt_uniform_fully_connected_s8 *op,
                                                       const int8_t *input, int8_t *output);

/* Arm DSP extension; every sum is below 2^30, every shift to the right; bias, and multipliers and shifts where each
 * output has its own, are filled up to a multiple of eight. See dsp.c for the order of the codes and for what else
 * their sums keep. scratch: the input as int16, its size rounded up to a multiple of eight. */
void tinyopt_uniform_fully_connected_s8_dsp_4(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch);
void tinyopt_uniform_fully_connected_s8_dsp_2(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch);
void tinyopt_uniform_fully_connected_s8_dsp_1(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch);

/* As dsp_4, with groups of a multiple of eight inputs. scratch: behind the inputs four bytes per group. */
void tinyopt_uniform_fully_connected_s8_dsp_4_groups(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                                     int8_t *output, void *scratch);

/* Helium (MVE); every shift to the right; bias, multipliers and shifts filled up as for dsp. codes: mve.c. No scratch.
 */
void tinyopt_uniform_fully_connected_s8_mve_4(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output);
void tinyopt_uniform_fully_connected_s8_mve_2(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output);
void tinyopt_uniform_fully_connected_s8_mve_1(const tinyopt_uniform_fully_connected_s8 *op, const int8_t *input,
                                              int8_t *output);

#endif
