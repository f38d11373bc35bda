/* Convolution with the Arm DSP extension, four pixels by two output channels at a time. Patches are widened into
 * columns once, and every pair of channels then streams its weights past them. See blocks_dsp.h.
 *
 * A patch is made of runs: taps that lie side by side in the input. Each run is padded to a multiple of four taps, so
 * that it is widened straight from the input, whatever its alignment; the weights at the padding are zero. */
#include "blocks_dsp.h"
#include "conv2d_s8.h"
#include "dsp.h"

typedef struct {
  const tinyopt_conv2d_s8 *op;
  const int8_t *image; /* of the batch */
  const int8_t *end;   /* of the whole input: nothing is read from here on */
  int8_t *edge;        /* room for a run that is not whole in the image */
  int32_t run;         /* taps of a run */
  int32_t words;       /* a run in words, padded */
  int32_t runs;        /* of a row of taps: one, or one per tap when they are dilated */
} patches_t;

static patches_t describe_patches(const tinyopt_conv2d_s8 *op) {
  bool joined = op->dilation_width == 1;
  patches_t p = {.op = op, .run = joined ? op->kernel_width * op->input_channels : op->input_channels};
  p.runs = joined ? 1 : op->kernel_width;
  if (op->contiguous) { /* the whole patch is one run */
    p.run = op->kernel_height * op->kernel_width * op->input_channels;
    p.runs = 1;
  }
  p.words = (p.run + 3) / 4;
  return p;
}

/* Widen a run, whole words, for one of `pixels` pixels; returns where the next run goes. */
static uint32_t *widen_run(const int8_t *from, int32_t words, int32_t pixels, uint32_t *columns) {
  if (pixels == 4) {
    tinyopt_block_widen_runs(from, columns, words, 1, 0);
  } else {
    tinyopt_block_widen(from, 4 * words, pixels, columns);
  }
  return columns + 2 * pixels * words;
}

/* A run that begins at column x of a row and leaves the image, or the last bytes of the input. */
static const int8_t *edge_run(const patches_t *p, const int8_t *row, int32_t x) {
  int32_t channels = p->op->input_channels;
  int32_t taps = p->run / channels;
  memset(p->edge, p->op->input_zero_point, 4 * (size_t)p->words);
  for (int32_t tap = 0; tap < taps; ++tap) {
    if (x + tap >= 0 && x + tap < p->op->input_width) {
      memcpy(p->edge + tap * channels, row + (x + tap) * channels, (size_t)channels);
    }
  }
  return p->edge;
}

static uint32_t *widen_row(const patches_t *p, int32_t y, int32_t x, int32_t pixels, uint32_t *columns) {
  const tinyopt_conv2d_s8 *op = p->op;
  const int8_t *row = p->image + y * op->input_width * op->input_channels;
  int32_t taps = p->runs == 1 ? op->kernel_width : 1;
  for (int32_t i = 0; i < p->runs; ++i, x += op->dilation_width) {
    const int8_t *from = row + x * op->input_channels;
    if (x < 0 || x + taps > op->input_width || p->end - from < 4 * p->words) {
      from = edge_run(p, row, x);
    }
    columns = widen_run(from, p->words, pixels, columns);
  }
  return columns;
}

/* Whether all taps of a patch, and the bytes read to whole words, lie in the input. */
static inline bool is_inside(const patches_t *p, int32_t y, int32_t x) {
  const tinyopt_conv2d_s8 *op = p->op;
  int32_t bottom = y + (op->kernel_height - 1) * op->dilation_height;
  int32_t last = bottom * op->input_width + x;
  return y >= 0 && x >= 0 && bottom < op->input_height && x + op->kernel_width <= op->input_width &&
         p->end - p->image >= last * op->input_channels + 4 * p->words;
}

static void widen_patch(const patches_t *p, int32_t output_y, int32_t output_x, int32_t pixels, uint32_t *columns) {
  const tinyopt_conv2d_s8 *op = p->op;
  int32_t x = output_x * op->stride_width - op->pad_left;
  int32_t y = output_y * op->stride_height - op->pad_top;
  if (pixels == 4 && p->runs == 1 && is_inside(p, y, x)) {
    int32_t row = op->input_width * op->input_channels;
    const int8_t *from = p->image + y * row + x * op->input_channels;
    tinyopt_block_widen_runs(from, columns, p->words, op->kernel_height, op->dilation_height * row);
    return;
  }
  for (int32_t ky = 0; ky < op->kernel_height; ++ky, y += op->dilation_height) {
    if (y >= 0 && y < op->input_height) {
      columns = widen_row(p, y, x, pixels, columns);
      continue;
    }
    uint32_t outside = tinyopt_pair(op->input_zero_point, op->input_zero_point);
    for (int32_t i = 2 * p->runs * p->words; i > 0; --i, columns += pixels) {
      *columns = outside;
    }
  }
}

static void widen_contiguous(const patches_t *p, int32_t y, int32_t x, int32_t pixels, uint32_t *columns) {
  const int8_t *from = tinyopt_conv2d_s8_patch_at(p->op, p->image, y, x);
  if (p->end - from >= 4 * p->words) {
    widen_run(from, p->words, pixels, columns);
  } else {
    tinyopt_block_widen(from, p->run, pixels, columns);
  }
}

void tinyopt_conv2d_s8_dsp_4x2(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  const uint32_t *stream = (const uint32_t *)(const void *)op->weights;
  int32_t image_size = op->input_height * op->input_width * op->input_channels;
  patches_t patches = describe_patches(op);
  int32_t groups = patches.words * (op->contiguous ? 1 : patches.runs * op->kernel_height);
  tinyopt_block block = {scratch, groups, op->output_channels, op->output_channels, 2 * op->output_zero_point + 1};
  patches.edge = (int8_t *)scratch + 32 * groups;
  patches.end = input + op->batches * image_size;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    int32_t y = 0;
    int32_t x = 0;
    patches.image = input + batch * image_size;
    for (int32_t left = op->output_height * op->output_width; left > 0;) {
      int32_t count = left >= 4 ? 4 : 1;
      for (int32_t pixel = 0; pixel < count; ++pixel) {
        if (op->contiguous) {
          widen_contiguous(&patches, y, x, count, (uint32_t *)scratch + pixel);
        } else {
          widen_patch(&patches, y, x, count, (uint32_t *)scratch + pixel);
        }
        if (++x == op->output_width) {
          x = 0;
          ++y;
        }
      }
      if (count == 4) {
        tinyopt_block_4(&block, stream, output);
      } else {
        tinyopt_block_1(&block, stream, output);
      }
      if (op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX) {
        tinyopt_block_clamp(output, count * op->output_channels, op->clamp_low, op->clamp_high);
      }
      output += count * op->output_channels;
      left -= count;
    }
  }
}
