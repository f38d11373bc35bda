/* Convolution of floats with weights in half precision, in portable C: a block of channels after the other, so that
 * each weight is widened once, and where the taps of a pixel lie is found out once a block. */
#include "half_conv2d_f32.h"

/* Where the taps of an output pixel lie inside the image. */
typedef struct {
  const float *image; /* at the first channel of the group */
  int32_t y;          /* of the window's first tap */
  int32_t x;
  tinyopt_taps rows;
  tinyopt_taps columns;
} window_t;

/* One channel at one output pixel. */
static float convolve(const tinyopt_conv2d_f32 *op, const window_t *window, const float *weights, float sum) {
  const int32_t depth = op->input_channels / op->groups;
  for (int32_t ky = window->rows.first; ky < window->rows.end; ++ky) {
    int32_t row = (window->y + ky * op->dilation_height) * op->input_width + window->x;
    for (int32_t kx = window->columns.first; kx < window->columns.end; ++kx) {
      const float *x = window->image + (row + kx * op->dilation_width) * op->input_channels;
      const float *w = weights + (ky * op->kernel_width + kx) * depth;
      for (int32_t i = 0; i < depth; ++i) {
        sum += x[i] * w[i];
      }
    }
  }
  return tinyopt_clamp_f32(sum, op->clamp_low, op->clamp_high);
}

/* `count` channels from `channel` on, of one group, at all pixels of an image. `image`: at the first channel of the
 * group; `weights`: of those channels; `output`: the first pixel's first channel of those. */
static void convolve_block(const tinyopt_conv2d_f32 *op, const float *image, const float *weights, int32_t channel,
                           int32_t count, float *output) {
  const int32_t size = op->kernel_height * op->kernel_width * (op->input_channels / op->groups);
  window_t window = {.image = image, .y = -op->pad_top};
  for (int32_t y = 0; y < op->output_height; ++y, window.y += op->stride_height) {
    window.rows = tinyopt_taps_inside(window.y, op->kernel_height, op->dilation_height, op->input_height);
    window.x = -op->pad_left;
    for (int32_t x = 0; x < op->output_width; ++x, window.x += op->stride_width, output += op->output_channels) {
      window.columns = tinyopt_taps_inside(window.x, op->kernel_width, op->dilation_width, op->input_width);
      for (int32_t c = 0; c < count; ++c) {
        output[c] = convolve(op, &window, weights + c * size, op->bias ? op->bias[channel + c] : 0.0f);
      }
    }
  }
}

void tinyopt_half_conv2d_f32_ref(const tinyopt_half_conv2d_f32 *half, const float *input, float *output,
                                 void *scratch) {
  const tinyopt_conv2d_f32 *op = &half->dense;
  const int32_t depth = op->input_channels / op->groups;
  const int32_t size = op->kernel_height * op->kernel_width * depth;
  const int32_t per_group = op->output_channels / op->groups;
  const int32_t input_size = op->input_height * op->input_width * op->input_channels;
  const int32_t output_size = op->output_height * op->output_width * op->output_channels;
  for (int32_t group = 0; group < op->groups; ++group) {
    for (int32_t done = 0; done < per_group; done += half->block) {
      int32_t channel = group * per_group + done;
      int32_t count = tinyopt_min(half->block, per_group - done);
      tinyopt_widen_all(half->weights + channel * size, count * size, scratch);
      for (int32_t batch = 0; batch < op->batches; ++batch) {
        convolve_block(op, input + batch * input_size + group * depth, scratch, channel, count,
                       output + batch * output_size + channel);
      }
    }
  }
}
