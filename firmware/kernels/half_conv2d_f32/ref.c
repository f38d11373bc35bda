/* Convolution of floats with weights in half precision, in portable C: channel after channel, so that each weight is
 * widened once. */
#include "half_conv2d_f32.h"

/* One channel at one output pixel whose window begins at (input_y, input_x); `image`: at the first channel of the
 * group. */
static float convolve(const tinyopt_conv2d_f32 *op, const float *image, const float *weights, float sum,
                      int32_t input_y, int32_t input_x) {
  const int32_t depth = op->input_channels / op->groups;
  tinyopt_taps rows = tinyopt_taps_inside(input_y, op->kernel_height, op->dilation_height, op->input_height);
  tinyopt_taps columns = tinyopt_taps_inside(input_x, op->kernel_width, op->dilation_width, op->input_width);
  for (int32_t ky = rows.first; ky < rows.end; ++ky) {
    for (int32_t kx = columns.first; kx < columns.end; ++kx) {
      int32_t pixel = (input_y + ky * op->dilation_height) * op->input_width + input_x + kx * op->dilation_width;
      const float *x = image + pixel * op->input_channels;
      const float *w = weights + (ky * op->kernel_width + kx) * depth;
      for (int32_t i = 0; i < depth; ++i) {
        sum += x[i] * w[i];
      }
    }
  }
  return tinyopt_clamp_f32(sum, op->clamp_low, op->clamp_high);
}

void tinyopt_half_conv2d_f32_ref(const tinyopt_half_conv2d_f32 *half, const float *input, float *output,
                                 void *scratch) {
  const tinyopt_conv2d_f32 *op = &half->dense;
  const int32_t depth = op->input_channels / op->groups;
  const int32_t size = op->kernel_height * op->kernel_width * depth;
  const int32_t per_group = op->output_channels / op->groups;
  int32_t channel = 0;
  for (int32_t group = 0; group < op->groups; ++group) {
    for (int32_t c = 0; c < per_group; ++c, ++channel) {
      float bias = op->bias ? op->bias[channel] : 0.0f;
      const float *image = input + group * depth;
      float *to = output + channel;
      tinyopt_widen_all(half->weights + channel * size, size, scratch);
      for (int32_t batch = 0; batch < op->batches; ++batch) {
        for (int32_t y = 0; y < op->output_height; ++y) {
          for (int32_t x = 0; x < op->output_width; ++x, to += op->output_channels) {
            *to = convolve(op, image, scratch, bias, y * op->stride_height - op->pad_top,
                           x * op->stride_width - op->pad_left);
          }
        }
        image += op->input_height * op->input_width * op->input_channels;
      }
    }
  }
}
