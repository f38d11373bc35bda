/* Depthwise convolution of several outputs a channel with the Arm DSP extension, any window and any shifts. */
#include "multiplied_depthwise_conv2d_s8.h"

static void without_scratch(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  (void)scratch;
  tinyopt_depthwise_conv2d_s8_dsp(op, input, output);
}

void tinyopt_multiplied_depthwise_conv2d_s8_dsp(const tinyopt_multiplied_depthwise_conv2d_s8 *op, const int8_t *input,
                                                int8_t *output, void *scratch) {
  tinyopt_multiplied_depthwise_conv2d_s8_run(op, input, output, scratch, without_scratch);
}
