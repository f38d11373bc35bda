/* Convolution in groups with the Arm DSP extension. */
#include "grouped_conv2d_s8.h"

void tinyopt_grouped_conv2d_s8_dsp_4x2(const tinyopt_grouped_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                       void *scratch) {
  tinyopt_grouped_conv2d_s8_run(op, input, output, scratch, tinyopt_conv2d_s8_dsp_4x2);
}

void tinyopt_grouped_conv2d_s8_dsp_4x2_relu(const tinyopt_grouped_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                            void *scratch) {
  tinyopt_grouped_conv2d_s8_run(op, input, output, scratch, tinyopt_conv2d_s8_dsp_4x2_relu);
}
