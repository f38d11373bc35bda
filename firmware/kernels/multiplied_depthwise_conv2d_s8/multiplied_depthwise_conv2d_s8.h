/* Depthwise convolution with several outputs for every input channel, int8 activations and weights: the kernels of
 * depthwise_conv2d_s8 for one output a channel, once for each.
 *
 * input  int8 [batches][input_height][input_width][input_channels]
 * output int8 [batches][output_height][output_width][input_channels * multiplier]
 *
 * Output channel c * multiplier + j is that of channel c in part j, which is a depthwise convolution of its own on the
 * whole input, so the result is that of depthwise_conv2d_s8.h. A part's outputs are computed in a plane of their own
 * and then stored `multiplier` bytes apart.
 *
 * Pointers need no alignment. Input and output must not overlap.
 * scratch: the plane of outputs of a part, rounded up to a multiple of eight bytes; what the kernel for a part needs.
 */
#ifndef TINYOPT_MULTIPLIED_DEPTHWISE_CONV2D_S8_H
#define TINYOPT_MULTIPLIED_DEPTHWISE_CONV2D_S8_H

#include "columns.h"
#include "depthwise_conv2d_s8.h"

typedef struct {
  const int8_t *weights;            /* of all parts, each in the order of the kernel for one */
  tinyopt_depthwise_conv2d_s8 part; /* without weights; bias, multipliers and shifts are those of all parts, or NULL */
  int32_t multiplier;               /* parts */
  int32_t part_bytes;               /* from a part's weights to the next one's */
} tinyopt_multiplied_depthwise_conv2d_s8;

typedef void tinyopt_depthwise_conv2d_s8_function(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input,
                                                  int8_t *output, void *scratch);

/* All parts with the kernel `convolve`. */
static inline void tinyopt_multiplied_depthwise_conv2d_s8_run(const tinyopt_multiplied_depthwise_conv2d_s8 *op,
                                                              const int8_t *input, int8_t *output, int8_t *scratch,
                                                              tinyopt_depthwise_conv2d_s8_function *convolve) {
  tinyopt_depthwise_conv2d_s8 part = op->part;
  const int32_t channels = part.input_channels;
  const int32_t count = part.batches * part.output_height * part.output_width * channels;
  part.weights = op->weights;
  for (int32_t j = 0; j < op->multiplier; ++j) {
    convolve(&part, input, scratch, scratch + ((count + 7) & ~7));
    tinyopt_copy_column((uint8_t *)output + j, op->multiplier, (const uint8_t *)scratch, 1, count, 1);
    part.weights += op->part_bytes;
    if (part.bias) {
      part.bias += channels;
      part.multipliers += part.per_channel * channels;
      part.shifts += part.per_channel * channels;
    }
  }
}

/* Each is the kernel of depthwise_conv2d_s8 after which it is named, on every part. */
void tinyopt_multiplied_depthwise_conv2d_s8_lines_3x3(const tinyopt_multiplied_depthwise_conv2d_s8 *op,
                                                      const int8_t *input, int8_t *output, void *scratch);
void tinyopt_multiplied_depthwise_conv2d_s8_dsp(const tinyopt_multiplied_depthwise_conv2d_s8 *op, const int8_t *input,
                                                int8_t *output, void *scratch);
void tinyopt_multiplied_depthwise_conv2d_s8_dsp_3x3(const tinyopt_multiplied_depthwise_conv2d_s8 *op,
                                                    const int8_t *input, int8_t *output, void *scratch);
void tinyopt_multiplied_depthwise_conv2d_s8_dsp_3x3_stride_2(const tinyopt_multiplied_depthwise_conv2d_s8 *op,
                                                             const int8_t *input, int8_t *output, void *scratch);
void tinyopt_multiplied_depthwise_conv2d_s8_dsp_3x3_relu(const tinyopt_multiplied_depthwise_conv2d_s8 *op,
                                                         const int8_t *input, int8_t *output, void *scratch);
void tinyopt_multiplied_depthwise_conv2d_s8_dsp_3x3_relu_stride_2(const tinyopt_multiplied_depthwise_conv2d_s8 *op,
                                                                  const int8_t *input, int8_t *output, void *scratch);
void tinyopt_multiplied_depthwise_conv2d_s8_dsp_lines(const tinyopt_multiplied_depthwise_conv2d_s8 *op,
                                                      const int8_t *input, int8_t *output, void *scratch);
void tinyopt_multiplied_depthwise_conv2d_s8_mve(const tinyopt_multiplied_depthwise_conv2d_s8 *op, const int8_t *input,
                                                int8_t *output, void *scratch);
void tinyopt_multiplied_depthwise_conv2d_s8_mve_3x3(const tinyopt_multiplied_depthwise_conv2d_s8 *op,
                                                    const int8_t *input, int8_t *output, void *scratch);

#endif
