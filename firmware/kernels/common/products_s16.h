/* Products of int16 activations and int8 weights with the Arm DSP extension: all channels of one patch.
 *
 * Weights, per four channels: four weights of the first, of the second, …, then the next four of each; what is left of
 * the channels follows one by one. Of four weights the two in the middle are swapped, so that SXTB16 gives neighbours.
 * Missing weights are zero.
 *
 * Sums without their bias stay within 32 bits, which is so while the magnitudes of a channel's weights sum to less than
 * 2^16. */
#ifndef TINYOPT_PRODUCTS_S16_H
#define TINYOPT_PRODUCTS_S16_H

#include "common.h"

typedef struct {
  const int8_t *weights;      /* as above */
  const int64_t *bias;        /* [channels], or NULL */
  const int32_t *multipliers; /* [channels], or [1] when per_channel is 0 */
  const int8_t *shifts;       /* as multipliers; at most 7 with wide_sums */
  int32_t per_channel;
  int32_t wide_sums; /* see tinyopt_requantize_s16 */
  int32_t depth;     /* activations of a patch */
  int32_t channels;
  int32_t clamp_low;
  int32_t clamp_high;
} tinyopt_products_s16;

/* x [depth], output [channels]; reads no more than depth activations. */
void tinyopt_products_s16_of_patch(const tinyopt_products_s16 *op, const int16_t *x, int16_t *output);

#endif
