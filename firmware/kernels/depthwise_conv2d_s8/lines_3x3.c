/* Depthwise 3x3 convolution for cores without SIMD, one channel after the other.
 *
 * The lines of a channel's plane are copied, widened, into a ring of three. Padding is written into the ring, so the
 * loop over a line of outputs knows no borders. Its sums are requantized together: loops of their own have all
 * registers. A line of outputs is written only after the input lines below it were read: input and output may be the
 * same memory. Lines run along the longer side of the image. */
#include "depthwise_conv2d_s8.h"
#include "narrow.h"

enum { LINES = 3, TAPS = 3, ROTATED = 2 * LINES };

/* The ring interleaves its lines: element i of line n is at ring[i * LINES + n]. weights: tap k of line n at
 * weights[k * ROTATED + n]. stride: words of the ring from one output to the next. */
typedef struct {
  const int32_t *ring;
  const int32_t *weights;
  int32_t *sums;
  int32_t *end; /* of the sums */
  int32_t bias; /* input zero point folded in */
  int32_t stride;
} line_t;

#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)

/* Registers: r0 ring, r1 sums, r2 to r4 elements, r5 product, r6 sum, r7 bytes to go back, r8 to r12 and lr weights.
 * Frame: 0 the last three weights, 12 bias, 16 end of the sums. */
/* clang-format off */
#define PRODUCT(fetch, weight, x) \
  fetch " r5, " weight "\n" \
  "muls r5, " x ", r5\n" \
  "adds r6, r6, r5\n"
#define COLUMN(fetch, first, second, third) \
  "ldmia r0!, {r2-r4}\n" \
  PRODUCT(fetch, first, "r2") \
  PRODUCT(fetch, second, "r3") \
  PRODUCT(fetch, third, "r4")

__attribute__((naked, noinline)) static void sum_line(const line_t *line __attribute__((unused))) {
  __asm__ volatile(
      ".syntax unified\n"
      "push {r4-r7, lr}\n"
      "mov r4, r8\n"
      "mov r5, r9\n"
      "mov r6, r10\n"
      "mov r7, r11\n"
      "push {r4-r7}\n"
      "sub sp, sp, #20\n"
      "ldmia r0!, {r2-r7}\n"
      "str r5, [sp, #16]\n"
      "str r6, [sp, #12]\n"
      "lsls r7, r7, #2\n"
      "movs r6, #36\n"
      "subs r7, r6, r7\n"
      "movs r0, r2\n"
      "movs r1, r4\n"
      "movs r6, r3\n"
      "ldmia r6!, {r2-r4}\n"
      "mov r8, r2\n"
      "mov r9, r3\n"
      "mov r10, r4\n"
      "adds r6, r6, #12\n"
      "ldmia r6!, {r2-r4}\n"
      "mov r11, r2\n"
      "mov r12, r3\n"
      "mov lr, r4\n"
      "adds r6, r6, #12\n"
      "ldmia r6!, {r2-r4}\n"
      "mov r5, sp\n"
      "stmia r5!, {r2-r4}\n"
      "1:\n"
      "ldr r6, [sp, #12]\n"
      COLUMN("mov", "r8", "r9", "r10")
      COLUMN("mov", "r11", "r12", "lr")
      COLUMN("ldr", "[sp]", "[sp, #4]", "[sp, #8]")
      "subs r0, r0, r7\n"
      "stmia r1!, {r6}\n"
      "ldr r5, [sp, #16]\n"
      "cmp r1, r5\n"
      "bne 1b\n"
      "add sp, sp, #20\n"
      "pop {r4-r7}\n"
      "mov r8, r4\n"
      "mov r9, r5\n"
      "mov r10, r6\n"
      "mov r11, r7\n"
      "pop {r4-r7, pc}\n");
}
/* clang-format on */

#else

static void sum_line(const line_t *line) {
  const int32_t *w = line->weights;
  const int32_t w00 = w[0], w10 = w[1], w20 = w[2];
  const int32_t w01 = w[ROTATED], w11 = w[ROTATED + 1], w21 = w[ROTATED + 2];
  const int32_t w02 = w[2 * ROTATED], w12 = w[2 * ROTATED + 1], w22 = w[2 * ROTATED + 2];
  const int32_t *x = line->ring;
  int32_t *sums = line->sums;
  if (line->stride == LINES) { /* every column is read once, for three sums */
    int32_t sum = line->bias + x[0] * w00 + x[1] * w10 + x[2] * w20 + x[3] * w01 + x[4] * w11 + x[5] * w21;
    int32_t next = line->bias + x[3] * w00 + x[4] * w10 + x[5] * w20;
    for (x += 2 * LINES; sums < line->end; x += LINES) {
      int32_t x0 = x[0], x1 = x[1], x2 = x[2];
      *sums++ = sum + x0 * w02 + x1 * w12 + x2 * w22;
      sum = next + x0 * w01 + x1 * w11 + x2 * w21;
      next = line->bias + x0 * w00 + x1 * w10 + x2 * w20;
    }
    return;
  }
  for (; sums < line->end; x += line->stride) {
    int32_t sum = line->bias + x[0] * w00 + x[1] * w10 + x[2] * w20;
    sum += x[3] * w01 + x[4] * w11 + x[5] * w21;
    *sums++ = sum + x[6] * w02 + x[7] * w12 + x[8] * w22;
  }
}

#endif

/* The plane of one channel, seen as lines. */
typedef struct {
  int32_t lines, length;         /* of the input */
  int32_t step, line_step;       /* bytes between its elements, between its lines */
  int32_t lead, first_line;      /* elements of padding before a line, lines before the plane */
  int32_t output_lines, outputs; /* lines, and elements of a line */
  int32_t output_step, output_line_step;
  int32_t stride, line_stride;
} plane_t;

static plane_t describe_plane(const tinyopt_depthwise_conv2d_s8 *op) {
  int32_t c = op->input_channels;
  if (tinyopt_depthwise_conv2d_s8_turned(op)) {
    return (plane_t){op->input_width,  op->input_height,  op->input_width * c,  c, op->pad_top,       op->pad_left,
                     op->output_width, op->output_height, op->output_width * c, c, op->stride_height, op->stride_width};
  }
  return (plane_t){op->input_height,  op->input_width,  c, op->input_width * c,  op->pad_left,     op->pad_top,
                   op->output_height, op->output_width, c, op->output_width * c, op->stride_width, op->stride_height};
}

/* Fill a line of the ring up to `end`: `lead` elements of padding, the input's, then padding. source NULL: padding. */
static void load_line(const plane_t *plane, const int8_t *source, int32_t padding, int32_t *ring, const int32_t *end) {
  if (source) {
    int32_t step = plane->step;
    const int32_t *start = ring + plane->lead * LINES;
    for (; ring < start; ring += LINES) {
      *ring = padding;
    }
    const int32_t *stop = ring + plane->length * LINES;
    for (stop = stop < end ? stop : end; ring < stop; ring += LINES, source += step) {
      *ring = *source;
    }
  }
  for (; ring < end; ring += LINES) {
    *ring = padding;
  }
}

/* Taps of a channel, lines of three, as the ring wants them whichever of its lines is the first: the lines twice. */
static void load_weights(const int8_t *taps, int32_t *weights) {
  for (int32_t n = 0; n < LINES; ++n, ++weights) {
    for (int32_t k = 0; k < TAPS; ++k) {
      weights[k * ROTATED] = weights[k * ROTATED + LINES] = *taps++;
    }
  }
}

static void convolve_plane(const tinyopt_depthwise_conv2d_s8 *op, const plane_t *plane, const tinyopt_narrow *scale,
                           line_t *line, const int32_t *weights, const int8_t *input, int8_t *output, int32_t *ring) {
  const int32_t *ring_end = ring + (plane->outputs - 1) * line->stride + TAPS * LINES;
  int32_t at = -plane->first_line; /* the next line to load; it goes to line `slot` of the ring */
  int32_t slot = 0;
  for (int32_t y = 0; y < plane->output_lines; ++y) {
    for (int32_t wanted = y * plane->line_stride - plane->first_line + LINES; at < wanted; ++at) {
      bool inside = at >= 0 && at < plane->lines;
      load_line(plane, inside ? input + at * plane->line_step : NULL, op->input_zero_point, ring + slot, ring_end);
      slot = slot == LINES - 1 ? 0 : slot + 1;
    }
    /* Line `slot` of the ring is the oldest: it takes the first line of weights. */
    line->weights = weights + (slot ? LINES - slot : 0);
    sum_line(line);
    tinyopt_narrow_line(scale, line->sums, output, plane->output_step, plane->outputs);
    output += plane->output_line_step;
  }
}

void tinyopt_depthwise_conv2d_s8_lines_3x3(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                           void *scratch) {
  tinyopt_narrow scale = tinyopt_narrow_to(op->output_zero_point, op->clamp_low, op->clamp_high);
  plane_t plane = describe_plane(op);
  line_t line;
  line.sums = scratch;
  line.end = line.sums + plane.outputs;
  line.ring = line.end;
  line.stride = plane.stride * LINES;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t channel = 0; channel < op->input_channels; ++channel) {
      int32_t i = channel * op->per_channel;
      int32_t weights[TAPS * ROTATED];
      load_weights(op->weights + channel * LINES * TAPS, weights);
      line.bias = op->bias[channel];
      scale.multiplier = op->multipliers[i];
      scale.right = -op->shifts[i] - 1;
      convolve_plane(op, &plane, &scale, &line, weights, input + channel, output + channel, line.end);
    }
    input += op->input_height * op->input_width * op->input_channels;
    output += op->output_height * op->output_width * op->input_channels;
  }
}
