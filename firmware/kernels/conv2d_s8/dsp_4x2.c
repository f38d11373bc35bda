/* Convolution with the Arm DSP extension, four pixels by two output channels at a time. Patches are widened into
 * columns once, and every pair of channels then streams its weights past them. See blocks_dsp.h.
 *
 * A patch is made of runs: taps that lie side by side. Where patches are not whole in the input, the rows under the
 * kernel are kept in a window with the padding written out, so that widening knows no borders. */
#include "blocks_dsp.h"
#include "conv2d_s8.h"
#include "dsp.h"

typedef void compute_t(const tinyopt_block *block, const uint32_t *stream, int8_t *output);

typedef struct {
  const tinyopt_conv2d_s8 *op;
  const int8_t *image; /* of the batch */
  const int8_t *end;   /* nothing is read from here on: end of the whole input, or of the window */
  int8_t *window;      /* rows of the padded image, the first being that of the top taps of output row `y` */
  int32_t rows;        /* of the window */
  int32_t row_size;    /* of the window, or of the input when contiguous */
  int32_t y;
  int32_t taps;  /* of a run */
  int32_t words; /* of a run */
  int32_t runs;  /* of a line */
  int32_t run_step;
  int32_t lines; /* of a patch */
  int32_t line_step;
} patches_t;

/* Output rows that a block of four pixels may reach beyond the one it begins in. */
static int32_t rows_ahead(int32_t output_width) {
  return output_width % 4 == 0 ? 0 : (output_width + 2) / output_width;
}

static patches_t describe_patches(const tinyopt_conv2d_s8 *op) {
  int32_t channels = op->input_channels;
  patches_t p = {.op = op, .runs = 1, .lines = 1};
  if (op->contiguous) { /* the whole patch is one run */
    p.taps = op->kernel_height * op->kernel_width * channels;
    p.row_size = op->input_width * channels;
  } else {
    int32_t width = (op->output_width - 1) * op->stride_width + (op->kernel_width - 1) * op->dilation_width + 1;
    p.rows = (op->kernel_height - 1) * op->dilation_height + 1 + op->stride_height * rows_ahead(op->output_width);
    p.row_size = (width * channels + 3) & ~3; /* whole words, which are copied faster */
    if (op->dilation_width == 1) {
      p.taps = op->kernel_width * channels;
      p.runs = op->kernel_height;
      p.run_step = op->dilation_height * p.row_size;
    } else {
      p.taps = channels;
      p.runs = op->kernel_width;
      p.run_step = op->dilation_width * channels;
      p.lines = op->kernel_height;
      p.line_step = op->dilation_height * p.row_size;
    }
  }
  p.words = tinyopt_block_words(p.taps);
  return p;
}

/* Move the window down to output row y. Its left and right padding stays as it is. */
static void move_window(patches_t *p, int32_t y) {
  const tinyopt_conv2d_s8 *op = p->op;
  int32_t down = (y - p->y) * op->stride_height;
  int32_t whole = op->input_width * op->input_channels;
  int32_t left = op->pad_left * op->input_channels;
  int32_t inside = tinyopt_min(whole, p->row_size - left);
  int8_t *row = p->window + left;
  p->y = y;
  for (int32_t i = 0; i < p->rows && inside > 0; ++i, row += p->row_size) {
    int32_t input_y = y * op->stride_height - op->pad_top + i;
    if (i + down < p->rows) {
      memcpy(row, row + down * p->row_size, (size_t)inside);
    } else if (input_y >= 0 && input_y < op->input_height) {
      memcpy(row, p->image + input_y * whole, (size_t)inside);
    } else {
      memset(row, op->input_zero_point, (size_t)inside);
    }
  }
}

/* Widen the patch of one of `pixels` pixels, without reading beyond it. */
static void widen_exactly(const patches_t *p, const int8_t *from, int32_t pixels, uint32_t *columns) {
  for (int32_t line = 0; line < p->lines; ++line, from += p->line_step) {
    for (int32_t run = 0; run < p->runs; ++run, columns += pixels * p->words) {
      tinyopt_block_widen(from + run * p->run_step, p->taps, pixels, columns);
    }
  }
}

static void widen_four(const patches_t *p, const int8_t *from[4], uint32_t *columns) {
  for (int32_t line = p->lines;;) {
    tinyopt_block_widen_4(from, columns, p->words, p->runs, p->run_step);
    if (--line == 0) {
      return;
    }
    columns += 4 * p->words * p->runs;
    for (int32_t pixel = 0; pixel < 4; ++pixel) {
      from[pixel] += p->line_step;
    }
  }
}

static void convolve(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch,
                     compute_t *compute_4, compute_t *compute_1) {
  const uint32_t *stream = (const uint32_t *)(const void *)op->weights;
  int32_t image_size = op->input_height * op->input_width * op->input_channels;
  patches_t patches = describe_patches(op);
  int32_t words = patches.words * patches.runs * patches.lines;
  tinyopt_block block = {.columns = scratch, .offset = 2 * op->output_zero_point + 1, .stride = op->output_channels};
  patches.window = (int8_t *)scratch + 16 * words;
  patches.end =
      op->contiguous ? input + op->batches * image_size : patches.window + patches.rows * patches.row_size + 3;
  int32_t step = op->stride_width * op->input_channels;
  int32_t next_row = op->stride_height * patches.row_size - op->output_width * step;
  int32_t reach = 3 * step + (patches.words + 1) / 2 * 4; /* what widening the first run of a block reads */
  bool narrow = op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    int32_t y = 0;
    int32_t x = 0;
    tinyopt_block_prepare(&block, words, 4);
    patches.image = input + batch * image_size;
    patches.y = -patches.rows;           /* nothing in the window is to be kept */
    const int8_t *patch = patches.image; /* of the pixel at y, x */
    if (!op->contiguous) {
      patch = patches.window;
      memset(patches.window, op->input_zero_point, (size_t)(patches.rows * patches.row_size));
      move_window(&patches, 0);
    }
    int32_t left = op->output_height * op->output_width;
    if (op->contiguous && next_row == 0) { /* pixels are as far apart from row to row as within one */
      for (; left >= 4 && patches.end - patch >= reach; left -= 4) {
        const int8_t *const from[4] = {patch, patch + step, patch + 2 * step, patch + 3 * step};
        tinyopt_block_widen_4(from, scratch, words, 1, 0);
        compute_4(&block, stream, output);
        if (narrow) {
          tinyopt_block_clamp(output, 4 * op->output_channels, op->clamp_low, op->clamp_high);
        }
        patch += 4 * step;
        output += 4 * op->output_channels;
      }
    }
    while (left > 0) {
      const int8_t *from[4];
      int32_t count = left >= 4 ? 4 : 1;
      if (y != patches.y && !op->contiguous) {
        move_window(&patches, y);
        patch = patches.window + x * step;
      }
      if (count == 4 && x + 4 < op->output_width) { /* the usual case, without asking for every pixel */
        from[0] = patch;
        from[1] = patch + step;
        from[2] = patch + 2 * step;
        from[3] = patch + 3 * step;
        patch += 4 * step;
        x += 4;
      } else {
        for (int32_t pixel = 0; pixel < count; ++pixel, patch += step) {
          from[pixel] = patch;
          if (++x == op->output_width) {
            x = 0;
            ++y;
            patch += next_row;
          }
        }
      }
      if (count == 4 && patches.end - from[3] + 3 * step >= reach) {
        widen_four(&patches, from, scratch);
      } else { /* or whole words would reach beyond the input */
        for (int32_t pixel = 0; pixel < count; ++pixel) {
          widen_exactly(&patches, from[pixel], count, (uint32_t *)scratch + pixel);
        }
      }
      if (count == 1) {
        tinyopt_block_prepare(&block, words, 1);
      }
      (count == 4 ? compute_4 : compute_1)(&block, stream, output);
      if (narrow) {
        tinyopt_block_clamp(output, count * op->output_channels, op->clamp_low, op->clamp_high);
      }
      output += count * op->output_channels;
      left -= count;
    }
  }
}

void tinyopt_conv2d_s8_dsp_4x2(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  convolve(op, input, output, scratch, tinyopt_block_4, tinyopt_block_1);
}

void tinyopt_conv2d_s8_dsp_4x2_relu(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  convolve(op, input, output, scratch, tinyopt_block_4_relu, tinyopt_block_1_relu);
}
