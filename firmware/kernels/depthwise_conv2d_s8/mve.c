/* Depthwise convolution with Helium, eight channels at a time. Weights stream past the window in the order of the taps;
 * products of even and odd channels widen to 32 bits in two vectors. Windows that leave the image are copied. */
#include "depthwise_conv2d_s8.h"
#include "mve.h"

/* Write the window of an output pixel, [kernel_height][kernel_width][input_channels]. */
static void gather(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *image, int32_t y, int32_t x, int8_t *window) {
  int32_t channels = op->input_channels;
  for (int32_t ky = 0; ky < op->kernel_height; ++ky, y += op->dilation_height) {
    for (int32_t kx = 0; kx < op->kernel_width; ++kx, window += channels) {
      int32_t column = x + kx * op->dilation_width;
      if (y >= 0 && y < op->input_height && column >= 0 && column < op->input_width) {
        tinyopt_mve_copy(window, image + (y * op->input_width + column) * channels, channels);
      } else {
        tinyopt_mve_fill(window, op->input_zero_point, channels);
      }
    }
  }
}

/* Where a window lies: rows of taps, bytes from a tap to the next, and to that below. A copied window is one row. */
typedef struct {
  const int8_t *from;
  int32_t height;
  int32_t width;
  int32_t step;
  int32_t row;
} window_t;

#if TINYOPT_HAS_MVE

/* Up to eight channels from `window->from`; returns the stream behind them. */
static const int8_t *convolve(const tinyopt_depthwise_conv2d_s8 *op, const window_t *window, const int8_t *stream,
                              int32_t left, int8_t *output) {
  const int32_t *tail = (const int32_t *)(const void *)stream;
  mve_pred16_t lanes = vctp16q((uint32_t)left);
  int32x4_t even = vld1q_s32(tail);
  int32x4_t odd = vld1q_s32(tail + 12);
  stream += 96;
  const int8_t *row = window->from;
  for (int32_t ky = window->height; ky > 0; --ky, row += window->row) {
    const int8_t *x = row;
    __asm__ volatile("vmsr p0, %[lanes]\n"
                     "dls lr, %[count]\n"
                     "1:\n"
                     "vpst\n"
                     "vldrbt.s16 q0, [%[x]]\n" /* nothing is read behind the last channel */
                     "vldrb.s16 q1, [%[weights]], #8\n"
                     "add %[x], %[x], %[step]\n"
                     "vmullb.s16 q2, q0, q1\n"
                     "vmullt.s16 q3, q0, q1\n"
                     "vadd.i32 %q[even], %q[even], q2\n"
                     "vadd.i32 %q[odd], %q[odd], q3\n"
                     "le lr, 1b\n"
                     : [even] "+w"(even), [odd] "+w"(odd), [x] "+l"(x), [weights] "+l"(stream)
                     : [count] "r"(window->width), [step] "r"(window->step), [lanes] "r"((uint32_t)lanes)
                     : "lr", "q0", "q1", "q2", "q3", "memory");
  }
  int32x4_t low = vdupq_n_s32(op->clamp_low);
  int32x4_t high = vdupq_n_s32(op->clamp_high);
  even = tinyopt_mve_requantize(even, vld1q_s32(tail + 4), vld1q_s32(tail + 8));
  odd = tinyopt_mve_requantize(odd, vld1q_s32(tail + 16), vld1q_s32(tail + 20));
  int16x8_t both = vreinterpretq_s16_s32(tinyopt_mve_output(even, op->output_zero_point, low, high));
  both = vmovntq_s32(both, tinyopt_mve_output(odd, op->output_zero_point, low, high));
  vstrbq_p_s16(output, both, lanes);
  return stream;
}

#else /* the same computation in C, for tests on other machines */

static const int8_t *convolve(const tinyopt_depthwise_conv2d_s8 *op, const window_t *window, const int8_t *stream,
                              int32_t left, int8_t *output) {
  int32_t tail[24];
  memcpy(tail, stream, sizeof tail);
  stream += sizeof tail;
  for (int32_t lane = 0; lane < tinyopt_min(left, 8); ++lane) {
    const int32_t *mine = tail + 12 * (lane % 2) + lane / 2;
    int32_t sum = mine[0];
    for (int32_t ky = 0; ky < window->height; ++ky) {
      for (int32_t kx = 0; kx < window->width; ++kx) {
        int32_t weight = stream[8 * (ky * window->width + kx) + lane];
        sum = tinyopt_mac(sum, window->from[ky * window->row + kx * window->step + lane], weight);
      }
    }
    output[lane] = tinyopt_requantize_s8(sum, mine[4], mine[8], op->output_zero_point, op->clamp_low, op->clamp_high);
  }
  return stream + 8 * op->kernel_height * op->kernel_width;
}

#endif

void tinyopt_depthwise_conv2d_s8_mve(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                     void *scratch) {
  int32_t channels = op->input_channels;
  int32_t pitch = op->input_width * channels;
  int32_t height = (op->kernel_height - 1) * op->dilation_height + 1;
  int32_t width = (op->kernel_width - 1) * op->dilation_width + 1;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t row = 0, y = -op->pad_top; row < op->output_height; ++row, y += op->stride_height) {
      bool inside = y >= 0 && y + height <= op->input_height;
      for (int32_t column = 0, x = -op->pad_left; column < op->output_width; ++column, x += op->stride_width) {
        window_t window = {scratch, 1, op->kernel_height * op->kernel_width, channels, 0};
        const int8_t *stream = op->weights;
        if (inside && x >= 0 && x + width <= op->input_width) {
          window.from = input + y * pitch + x * channels;
          window.height = op->kernel_height;
          window.width = op->kernel_width;
          window.step = op->dilation_width * channels;
          window.row = op->dilation_height * pitch;
        } else {
          gather(op, input, y, x, scratch);
        }
        for (int32_t left = channels; left > 0; left -= 8, window.from += 8) {
          stream = convolve(op, &window, stream, left, output + channels - left);
        }
        output += channels;
      }
    }
    input += op->input_height * pitch;
  }
}
