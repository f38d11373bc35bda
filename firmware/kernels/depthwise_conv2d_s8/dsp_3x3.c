/* Depthwise 3x3 convolution with the Arm DSP extension, one channel after the other.
 *
 * The lines of a channel's plane are copied, widened, into a ring of three, from which two neighbouring outputs are
 * computed at a time: SMLAD takes two taps of a line at once, because in a plane neighbouring taps are neighbours in
 * memory. The weights are doubled, and so are the sums, as requantization wants them. Padding is written into the ring,
 * so the loop knows no borders. A line of outputs is written only after the input lines below it were read: input and
 * output may be the same memory.
 *
 * Lines run along the longer side of the image (columns, when it is higher than wide), so that they are few. */
#include "blocks_dsp.h"
#include "depthwise_conv2d_s8.h"
#include "dsp.h"

enum { LINES = 3 };

/* The ring interleaves its lines by word: word i of line n is at ring[i * LINES + n]. A word is a pair of elements. */
typedef struct {
  const uint32_t *ring;
  const uint32_t *weights; /* per line of the ring: taps (0, 1), taps (1, 2) */
  int32_t bias;            /* doubled, input zero point folded in */
  int32_t offset;          /* 2 * output zero point + 1 */
  int32_t step;            /* bytes between outputs */
  int32_t outputs;         /* at least 1 */
  int32_t multiplier;
  int32_t shift; /* to the right, minus 1 */
} line_t;

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* Registers: r0 ring, r1 multiplier, r2 output, r3 shift, r4 to r9 weights, r10 and r11 two sums, r12 and lr elements.
 * Frame: 0 bias, 4 offset, 8 step, 12 end of the ring, 16 outputs. An odd last output is computed with a neighbour that
 * is stored first, to the same place. */
/* clang-format off */
#define REQUANTIZE(sum) \
  "smmulr " sum ", " sum ", r1\n" \
  "add " sum ", " sum ", " sum ", asr #31\n" \
  "asr " sum ", " sum ", r3\n" \
  "add " sum ", " sum ", r12\n" \
  "ssat " sum ", #8, " sum ", asr #1\n"

#define LINE_OF_OUTPUTS(bytes_per_pair, rows) \
  ".syntax unified\n" \
  "push {r4-r11, lr}\n" \
  "sub sp, sp, #20\n" \
  "mov r2, r1\n" \
  "ldmia r0, {r3-r10}\n" \
  "mov r0, r3\n" \
  "mov r1, r9\n" \
  "mov r3, r10\n" \
  "strd r5, r6, [sp, #0]\n" \
  "str r7, [sp, #8]\n" \
  "str r8, [sp, #16]\n" \
  "lsrs r8, r8, #1\n" \
  "mov r9, #" #bytes_per_pair "\n" \
  "mla r10, r8, r9, r0\n" \
  "str r10, [sp, #12]\n" \
  "cmp r8, #0\n" \
  "ldmia r4, {r4-r9}\n" \
  "beq 2f\n" \
  "1:\n" \
  "ldr.w r10, [sp, #0]\n" \
  "mov r11, r10\n" \
  rows \
  "ldr.w r12, [sp, #4]\n" \
  "ldr.w lr, [sp, #8]\n" \
  REQUANTIZE("r10") \
  REQUANTIZE("r11") \
  "adds r0, r0, #" #bytes_per_pair "\n" \
  "strb r11, [r2, lr]\n" \
  "strb r10, [r2]\n" \
  "ldr.w r12, [sp, #12]\n" \
  "add r2, r2, lr, lsl #1\n" \
  "cmp r0, r12\n" \
  "bne.w 1b\n" \
  "2:\n" \
  "ldr r12, [sp, #16]\n" \
  "lsls r12, r12, #31\n" \
  "beq 3f\n" \
  "movs r12, #0\n" \
  "str r12, [sp, #8]\n" \
  "str r12, [sp, #16]\n" \
  "add r12, r0, #" #bytes_per_pair "\n" \
  "str r12, [sp, #12]\n" \
  "b 1b\n" \
  "3:\n" \
  "add sp, sp, #20\n" \
  "pop {r4-r11, pc}\n"

#define ROW_STRIDE_1(at, first, last) \
  "ldr.w r12, [r0, #" #at "]\n" \
  "ldr.w lr, [r0, #" #at "+12]\n" \
  "smlad r10, r12, " first ", r10\n" \
  "smlatb r11, r12, " first ", r11\n" \
  "smlabt r10, lr, " last ", r10\n" \
  "smlad r11, lr, " last ", r11\n"

#define ROW_STRIDE_2(at, first, last) \
  "ldr.w r12, [r0, #" #at "]\n" \
  "ldr.w lr, [r0, #" #at "+12]\n" \
  "smlad r10, r12, " first ", r10\n" \
  "ldr.w r12, [r0, #" #at "+24]\n" \
  "smlabt r10, lr, " last ", r10\n" \
  "smlad r11, lr, " first ", r11\n" \
  "smlabt r11, r12, " last ", r11\n"

#define THREE(row) row(0, "r4", "r5") row(4, "r6", "r7") row(8, "r8", "r9")

__attribute__((naked, noinline)) static void line_stride_1(const line_t *line __attribute__((unused)),
                                                           int8_t *output __attribute__((unused))) {
  __asm__ volatile(LINE_OF_OUTPUTS(12, THREE(ROW_STRIDE_1)));
}

__attribute__((naked, noinline)) static void line_stride_2(const line_t *line __attribute__((unused)),
                                                           int8_t *output __attribute__((unused))) {
  __asm__ volatile(LINE_OF_OUTPUTS(24, THREE(ROW_STRIDE_2)));
}
/* clang-format on */

#else /* the same computation in C, for tests on other machines */

static int32_t element(const uint32_t *ring, int32_t line, int32_t at) {
  uint32_t pair = ring[(at >> 1) * LINES + line];
  return at & 1 ? tinyopt_high_half(pair) : tinyopt_low_half(pair);
}

static void line_any_stride(const line_t *line, int8_t *output, int32_t stride) {
  for (int32_t i = 0; i < line->outputs; ++i) {
    int32_t sum = line->bias;
    for (int32_t n = 0; n < LINES; ++n) {
      const uint32_t *weights = line->weights + 2 * n;
      sum += element(line->ring, n, i * stride) * tinyopt_low_half(weights[0]);
      sum += element(line->ring, n, i * stride + 1) * tinyopt_high_half(weights[0]);
      sum += element(line->ring, n, i * stride + 2) * tinyopt_high_half(weights[1]);
    }
    output[i * line->step] = tinyopt_requantize_doubled_s8(sum, line->multiplier, line->shift, line->offset);
  }
}

static void line_stride_1(const line_t *line, int8_t *output) {
  line_any_stride(line, output, 1);
}

static void line_stride_2(const line_t *line, int8_t *output) {
  line_any_stride(line, output, 2);
}

#endif

/* The plane of one channel, seen as lines. */
typedef struct {
  int32_t lines, length;            /* of the input */
  int32_t step, line_step;          /* bytes between its elements, between its lines */
  int32_t lead;                     /* elements of padding before a line */
  int32_t words;                    /* of a line in the ring */
  int32_t output_lines, first_line; /* first_line: lines of padding before the plane */
  int32_t output_step, output_line_step;
} plane_t;

static plane_t describe_plane(const tinyopt_depthwise_conv2d_s8 *op, int32_t *outputs) {
  int32_t c = op->input_channels;
  plane_t rows = {op->input_height,  op->input_width, c, op->input_width * c, op->pad_left, 0,
                  op->output_height, op->pad_top,     c, op->output_width * c};
  plane_t columns = {op->input_width,  op->input_height, op->input_width * c,  c, op->pad_top, 0,
                     op->output_width, op->pad_left,     op->output_width * c, c};
  bool turned = tinyopt_depthwise_conv2d_s8_turned(op);
  plane_t plane = turned ? columns : rows;
  *outputs = turned ? op->output_height : op->output_width;
  plane.words = ((*outputs + 1) / 2) * op->stride_height + 1;
  return plane;
}

/* Fill a line of the ring: `lead` elements of padding, the input's, then padding. source NULL: padding alone. */
static void load_line(const plane_t *plane, const int8_t *source, int32_t padding, uint32_t *ring) {
  uint32_t *end = ring + plane->words * LINES;
  uint32_t empty = tinyopt_pair(padding, padding);
  if (source) {
    int32_t step = plane->step;
    int32_t left = plane->length;
    if (plane->lead & 1) {
      *ring = tinyopt_pair(padding, *source);
      ring += LINES;
      source += step;
      --left;
    } else if (plane->lead) {
      *ring = empty;
      ring += LINES;
    }
    int32_t pairs = tinyopt_min(left >> 1, (int32_t)(end - ring) / LINES);
    left -= 2 * pairs;
    for (; pairs >= 2; pairs -= 2, ring += 2 * LINES, source += 4 * step) {
      const int8_t *next = source + 2 * step;
      ring[0] = tinyopt_pair(source[0], source[step]);
      ring[LINES] = tinyopt_pair(next[0], next[step]);
    }
    if (pairs > 0) {
      *ring = tinyopt_pair(source[0], source[step]);
      ring += LINES;
      source += 2 * step;
    }
    if (left > 0 && ring < end) {
      *ring = tinyopt_pair(*source, padding);
      ring += LINES;
    }
  }
  for (; ring < end; ring += LINES) {
    *ring = empty;
  }
}

/* Taps of a channel, three lines of three, as the ring wants them whichever of its lines is the first: the lines twice.
 */
static void load_weights(const int8_t *taps, uint32_t *weights) {
  for (int32_t n = 0; n < LINES; ++n, taps += 3) {
    weights[2 * n] = weights[2 * n + 6] = tinyopt_pair(2 * taps[0], 2 * taps[1]);
    weights[2 * n + 1] = weights[2 * n + 7] = tinyopt_pair(2 * taps[1], 2 * taps[2]);
  }
}

static void convolve_plane(const tinyopt_depthwise_conv2d_s8 *op, const plane_t *plane, line_t *line,
                           const uint32_t *weights, const int8_t *input, int8_t *output, uint32_t *ring) {
  int32_t stride = op->stride_height;
  int32_t at = -plane->first_line; /* the next line to load; it goes to line `slot` of the ring */
  int32_t slot = 0;
  for (int32_t y = 0; y < plane->output_lines; ++y) {
    for (int32_t wanted = y * stride - plane->first_line + LINES; at < wanted; ++at) {
      bool inside = at >= 0 && at < plane->lines;
      load_line(plane, inside ? input + at * plane->line_step : NULL, op->input_zero_point, ring + slot);
      slot = slot == LINES - 1 ? 0 : slot + 1;
    }
    /* Line `slot` of the ring is the oldest: it takes the first line of weights. */
    line->weights = weights + (slot ? 2 * (LINES - slot) : 0);
    if (stride == 1) {
      line_stride_1(line, output);
    } else {
      line_stride_2(line, output);
    }
    output += plane->output_line_step;
  }
}

void tinyopt_depthwise_conv2d_s8_dsp_3x3(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                         void *scratch) {
  line_t line = {.ring = scratch, .offset = 2 * op->output_zero_point + 1};
  plane_t plane = describe_plane(op, &line.outputs);
  line.step = plane.output_step;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t channel = 0; channel < op->input_channels; ++channel) {
      int32_t i = channel * op->per_channel;
      uint32_t weights[4 * LINES];
      load_weights(op->weights + channel * LINES * 3, weights);
      line.bias = 2 * op->bias[channel];
      line.multiplier = op->multipliers[i];
      line.shift = tinyopt_max(-op->shifts[i] - 1, 0); /* no shift goes with a multiplier of zero only */
      convolve_plane(op, &plane, &line, weights, input + channel, output + channel, scratch);
    }
    int32_t written = op->output_height * op->output_width * op->input_channels;
    if (op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX) {
      tinyopt_block_clamp(output, written, op->clamp_low, op->clamp_high);
    }
    input += op->input_height * op->input_width * op->input_channels;
    output += written;
  }
}
