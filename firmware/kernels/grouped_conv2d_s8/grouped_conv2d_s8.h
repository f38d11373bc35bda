/* 2-D convolution in groups, int8 activations and weights: the kernels of conv2d_s8 for one group, group after group.
 *
 * input  int8 [batches][input_height][input_width][groups * group.input_channels]
 * output int8 [batches][output_height][output_width][groups * group.output_channels]
 *
 * Output channel g * group.output_channels + o is channel o of the convolution `group` on the input channels from
 * g * group.input_channels on, so the result is that of conv2d_s8.h. The channels of a group are copied to a plane of
 * their own, convolved there, and its outputs are copied to where they belong: two loads and two stores for each input
 * and output, however many products they take part in.
 *
 * Pointers need no alignment. Input and output must not overlap.
 * scratch: the plane of inputs; unless `in_place` that of outputs; what the kernel for one group needs; each begins at
 * a multiple of eight bytes.
 */
#ifndef TINYOPT_GROUPED_CONV2D_S8_H
#define TINYOPT_GROUPED_CONV2D_S8_H

#include "columns.h"
#include "conv2d_s8.h"

typedef struct {
  const int8_t *weights;   /* of all groups, each in the order of the kernel for one */
  tinyopt_conv2d_s8 group; /* without weights; bias, multipliers and shifts are those of all groups, or NULL */
  int32_t groups;
  int32_t group_bytes; /* from a group's weights to the next one's */
  int32_t in_place;    /* 1: the outputs of a group may lie where its inputs are */
} tinyopt_grouped_conv2d_s8;

typedef void tinyopt_conv2d_s8_function(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                        void *scratch);

/* All groups with the kernel `convolve`. */
static inline void tinyopt_grouped_conv2d_s8_run(const tinyopt_grouped_conv2d_s8 *op, const int8_t *input,
                                                 int8_t *output, int8_t *scratch,
                                                 tinyopt_conv2d_s8_function *convolve) {
  tinyopt_conv2d_s8 group = op->group;
  const int32_t pixels = group.batches * group.input_height * group.input_width;
  const int32_t outputs = group.batches * group.output_height * group.output_width;
  const int32_t depth = group.input_channels;
  const int32_t channels = group.output_channels;
  int8_t *plane = scratch;
  scratch += (pixels * depth + 7) & ~7;
  int8_t *results = plane;
  if (!op->in_place) {
    results = scratch;
    scratch += (outputs * channels + 7) & ~7;
  }
  group.weights = op->weights;
  for (int32_t g = 0; g < op->groups; ++g) {
    tinyopt_copy_column((uint8_t *)plane, depth, (const uint8_t *)input, op->groups * depth, pixels, depth);
    convolve(&group, plane, results, scratch);
    tinyopt_copy_column((uint8_t *)output, op->groups * channels, (const uint8_t *)results, channels, outputs,
                        channels);
    input += depth;
    output += channels;
    group.weights += op->group_bytes;
    if (group.bias) {
      group.bias += channels;
      group.multipliers += group.per_channel * channels;
      group.shifts += group.per_channel * channels;
    }
  }
}

/* Each is the kernel of conv2d_s8 after which it is named, on every group. */
void tinyopt_grouped_conv2d_s8_triples(const tinyopt_grouped_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                       void *scratch);
void tinyopt_grouped_conv2d_s8_dsp_4x2(const tinyopt_grouped_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                       void *scratch);
void tinyopt_grouped_conv2d_s8_dsp_4x2_relu(const tinyopt_grouped_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                            void *scratch);
void tinyopt_grouped_conv2d_s8_mve(const tinyopt_grouped_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                   void *scratch);
void tinyopt_grouped_conv2d_s8_mve_rows(const tinyopt_grouped_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                        void *scratch);

#endif
