/* Depthwise convolution of any window with the Arm DSP extension, one channel after the other.
 *
 * The lines of a channel's plane that a window covers lie in a ring, widened to int16, with their padding. A word holds
 * two neighbours, so SMLAD takes two taps of a line. Four neighbouring outputs are computed at a time. The window of an
 * output begins at an even element or an odd one; for the latter, the weights are stored a second time, one element
 * later, so that words are read where they are aligned. A line of outputs is written only after the input lines below
 * it were read: input and output may be the same memory.
 *
 * A dilated convolution is several of dilation 1, each on every so many lines and columns.
 *
 * Lines run along the longer side of the image (columns, when it is higher than wide), so that they are few. */
#include "blocks_dsp.h"
#include "depthwise_conv2d_s8.h"
#include "dsp.h"

enum { GROUP = 4 };

/* One axis of the image, of one phase of a dilated convolution. */
typedef struct {
  int32_t inputs;
  int32_t outputs;
  int32_t lead; /* padding before the first input */
  int32_t kernel;
  int32_t stride;
  int32_t input_step; /* bytes */
  int32_t output_step;
  int32_t input_offset; /* of the first input and output, bytes */
  int32_t output_offset;
} axis_t;

/* What all channels of a phase share. */
typedef struct {
  axis_t lines;
  axis_t along;       /* the elements of a line */
  int32_t words;      /* that a window reads of a line of the ring, at least 2 */
  int32_t line_words; /* of a line of the ring */
  uint32_t padding;   /* the zero point, as a pair */
  uint32_t *weights;  /* [2][lines.kernel][words][2]: pairs of taps from an even element, from an odd one */
  uint32_t *ring;     /* [lines.kernel][line_words] */
} plane_t;

/* What a line of outputs of one channel is computed with; the assembly knows the order. */
typedef struct {
  int32_t bias;  /* doubled, as the weights are, input zero point folded in */
  uint32_t rows; /* in the upper half: lines under the window, minus 1; in the lower: see start_plane */
  int32_t body;  /* which of the loops serves, see start_plane */
  int32_t words; /* that a window reads of a line of the ring, at least 2 */
  int32_t multiplier;
  int32_t right;        /* the shift, minus 1 */
  int32_t offset;       /* 2 * output zero point + 1 */
  int32_t step;         /* bytes between outputs */
  int32_t advance;      /* bytes of the ring between the first outputs of two groups */
  int32_t neighbour[3]; /* bytes from the word where the first output of a group begins to that of the others */
} line_t;

/* From an axis, described for dilation 1, to phase `phase` of it. */
static TINYOPT_NEVER_INLINE void phase_of(axis_t *axis, int32_t dilation, int32_t phase) {
  int32_t first = phase - axis->lead;
  axis->lead = 0;
  for (; first < 0; first += dilation) {
    ++axis->lead;
  }
  axis->inputs = first < axis->inputs ? (axis->inputs - first + dilation - 1) / dilation : 0;
  axis->outputs = (axis->outputs - phase + dilation - 1) / dilation;
  axis->input_offset = first * axis->input_step;
  axis->output_offset = phase * axis->output_step;
  axis->input_step *= dilation;
  axis->output_step *= dilation;
}

/* Write a line of the ring: padding where there is no source. The padding around a line never changes. */
static TINYOPT_NEVER_INLINE void load_line(const plane_t *plane, const int8_t *source, uint32_t *line) {
  if (source) {
    int32_t step = plane->along.input_step;
    int32_t lead = plane->along.lead;
    int32_t left = tinyopt_min(plane->along.inputs, 2 * plane->line_words - lead);
    int16_t *to = (int16_t *)line + lead;
    for (; left > 3; left -= 4, source += 4 * step, to += 4) {
      int16_t first = source[0];
      int16_t second = source[step];
      int16_t third = source[2 * step];
      int16_t fourth = source[3 * step];
      to[0] = first;
      to[1] = second;
      to[2] = third;
      to[3] = fourth;
    }
    for (; left > 0; --left, source += step) {
      *to++ = *source;
    }
  } else {
    for (int32_t i = 0; i < plane->line_words; ++i) {
      line[i] = plane->padding;
    }
  }
}

/* Two words of every line, three, two of stride 2, any number and stride, any number of stride 1. */
enum { TWO_WORDS, THREE_WORDS, TWO_WORDS_STRIDE_2, ANY_STRIDE, ANY_WORDS };

/* The part of a line that all channels share. */
static line_t start_plane(const tinyopt_depthwise_conv2d_s8 *op, const plane_t *plane) {
  int32_t stride = plane->along.stride;
  line_t line = {.words = plane->words, .step = plane->along.output_step, .advance = 8 * stride};
  int32_t skip = plane->line_words; /* from where the loop leaves a line to the next one */
  if (stride == 2 && plane->words == 2) {
    line.body = TWO_WORDS_STRIDE_2;
  } else if (stride != 1) {
    line.body = ANY_STRIDE;
    skip -= plane->words;
  } else if (plane->words > 3) {
    line.body = ANY_WORDS;
    skip -= plane->words + 1;
  } else {
    line.body = plane->words == 2 ? TWO_WORDS : THREE_WORDS;
  }
  line.rows = ((uint32_t)(plane->lines.kernel - 1) << 16) | (uint32_t)(4 * skip);
  for (int32_t i = 0; i < GROUP - 1; ++i) {
    line.neighbour[i] = ((i + 1) * stride >> 1) * 4;
  }
  line.offset = 2 * op->output_zero_point + 1;
  return line;
}

/* The weights of a channel, doubled; the lines twice, so that any can begin. */
static TINYOPT_NEVER_INLINE void start_channel(const tinyopt_depthwise_conv2d_s8 *op, const plane_t *plane,
                                               int32_t index, line_t *line) {
  int32_t i = index * op->per_channel;
  int32_t width = plane->along.kernel;
  int32_t odd = plane->along.stride & 1;
  int32_t all = 2 * plane->words * plane->lines.kernel;
  const int8_t *taps = op->weights + index * plane->lines.kernel * width;
  uint32_t *to = plane->weights;
  for (int32_t n = plane->lines.kernel; n > 0; --n, taps += width) {
    int32_t before = 0;
    for (int32_t k = 0; k < 2 * plane->words; k += 2, to += 2) {
      int32_t first = k < width ? 2 * taps[k] : 0;
      int32_t second = k + 1 < width ? 2 * taps[k + 1] : 0;
      to[0] = to[all] = tinyopt_pair(first, second);
      to[1] = to[all + 1] = odd ? tinyopt_pair(before, first) : to[0];
      before = second;
    }
  }
  line->bias = op->bias[index];
  line->multiplier = op->multipliers[i];
  line->right = tinyopt_max(-op->shifts[i] - 1, 0); /* no shift goes with a multiplier of zero only */
}

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* A line of `left` outputs, at least one.
 *
 * Registers: r0 ring, r1 weights, r2 to r5 sums, r12 rows; r6 to r11 and lr elements, weights, and a count.
 * Frame: 0 ring, 4 weights, 8 line, 12 output, 16 left. */
/* clang-format off */
#define PRODUCTS(first, second, third, fourth, even, odd) \
  "smlad r2, " first ", " even ", r2\n" \
  "smlad r3, " second ", " odd ", r3\n" \
  "smlad r4, " third ", " even ", r4\n" \
  "smlad r5, " fourth ", " odd ", r5\n"
#define NEXT_ROW(label) \
  "uxtah r0, r0, r12\n" \
  "subs r12, r12, #0x10000\n" \
  "bpl " label "\n"
#define REQUANTIZE(sum) \
  "smmulr " sum ", " sum ", r6\n" \
  "add " sum ", " sum ", " sum ", asr #31\n" \
  "asrs " sum ", " sum ", r7\n" \
  "add " sum ", " sum ", r8\n" \
  "ssat " sum ", #8, " sum ", asr #1\n"

#define UNUSED __attribute__((unused))

__attribute__((naked)) static void convolve_line(const uint32_t *ring UNUSED, const uint32_t *weights UNUSED,
                                                 const line_t *line UNUSED, int8_t *output UNUSED,
                                                 int32_t left UNUSED) {
  __asm__ volatile(
      ".syntax unified\n"
      "ldr.w r12, [sp]\n"
      "push {r4-r11, lr}\n"
      "push.w {r0-r3, r12}\n"
      ".balign 4\n"
      "0:\n"
      "ldmia.w sp, {r0, r1, r6}\n"
      "ldmia r6, {r2, r12, lr}\n"
      "mov r3, r2\n"
      "mov r4, r2\n"
      "mov r5, r2\n"
      "cmp.w lr, #1\n"
      "beq 3f\n"
      "bhi 4f\n"
      ".balign 4\n"
      "2:\n" /* two words */
      "ldmia.w r0, {r6-r8}\n"
      "ldmia.w r1!, {r9-r11, lr}\n"
      PRODUCTS("r6", "r6", "r7", "r7", "r9", "r10")
      PRODUCTS("r7", "r7", "r8", "r8", "r11", "lr")
      NEXT_ROW("2b")
      "b 8f\n"
      ".balign 4\n"
      "3:\n" /* three words */
      "ldmia.w r0, {r6-r9}\n"
      "ldmia.w r1!, {r10, r11, lr}\n"
      PRODUCTS("r6", "r6", "r7", "r7", "r10", "r11")
      "smlad r2, r7, lr, r2\n"
      "smlad r4, r8, lr, r4\n"
      "ldmia.w r1!, {r10, r11, lr}\n"
      "smlad r3, r7, r10, r3\n"
      "smlad r5, r8, r10, r5\n"
      PRODUCTS("r8", "r8", "r9", "r9", "r11", "lr")
      NEXT_ROW("3b")
      "b 8f\n"
      "4:\n"
      "ldr r7, [r6, #12]\n"
      "cmp.w lr, #3\n"
      "beq 7f\n"
      "blo 1f\n"
      "mov r11, r7\n"
      ".balign 4\n"
      "5:\n" /* any number of words: an odd one, then two at a time */
      "ldr.w r6, [r0], #4\n"
      "lsrs.w lr, r11, #1\n"
      "bcc 6f\n"
      "ldmia.w r1!, {r8, r9}\n"
      "ldr.w r7, [r0], #4\n"
      PRODUCTS("r6", "r6", "r7", "r7", "r8", "r9")
      "mov r6, r7\n"
      ".balign 4\n"
      "6:\n"
      "ldmia.w r1!, {r8, r9}\n"
      "ldr.w r7, [r0], #4\n"
      PRODUCTS("r6", "r6", "r7", "r7", "r8", "r9")
      "ldmia.w r1!, {r8, r9}\n"
      "ldr.w r6, [r0], #4\n"
      PRODUCTS("r7", "r7", "r6", "r6", "r8", "r9")
      "subs.w lr, lr, #1\n"
      "bne 6b\n"
      NEXT_ROW("5b")
      "b 8f\n"
      "1:\n" /* two words, stride 2 */
      "ldmia.w r0, {r6-r10}\n"
      "ldr.w r11, [r1]\n"
      "ldr.w lr, [r1, #8]\n"
      PRODUCTS("r6", "r7", "r8", "r9", "r11", "r11")
      PRODUCTS("r7", "r8", "r9", "r10", "lr", "lr")
      "adds r1, r1, #16\n"
      NEXT_ROW("1b")
      "b 8f\n"
      "7:\n" /* any stride */
      "add r6, r6, #36\n"
      "ldmia.w r6, {r8-r10}\n"
      "6:\n"
      "ldr.w lr, [sp, #8]\n"
      "ldr.w lr, [lr, #12]\n"
      ".balign 4\n"
      "7:\n"
      "ldmia.w r1!, {r6, r7}\n"
      "ldr.w r11, [r0, r8]\n"
      "smlad r3, r11, r7, r3\n"
      "ldr.w r11, [r0, r9]\n"
      "smlad r4, r11, r6, r4\n"
      "ldr.w r11, [r0, r10]\n"
      "smlad r5, r11, r7, r5\n"
      "ldr.w r11, [r0], #4\n"
      "smlad r2, r11, r6, r2\n"
      "subs.w lr, lr, #1\n"
      "bne 7b\n"
      NEXT_ROW("6b")
      "8:\n"
      "ldr r0, [sp, #8]\n"
      "adds r0, r0, #16\n"
      "ldmia.w r0, {r6-r10}\n"
      REQUANTIZE("r2")
      "ldr r1, [sp, #12]\n"
      "ldr.w r11, [sp, #16]\n"
      "strb r2, [r1]\n"
      REQUANTIZE("r3")
      REQUANTIZE("r4")
      REQUANTIZE("r5")
      "subs.w r11, r11, #4\n"
      "blt 9f\n"
      "strb.w r3, [r1, r9]\n"
      "add.w r1, r1, r9, lsl #1\n"
      "strb r4, [r1]\n"
      "strb.w r5, [r1, r9]\n"
      "beq 1f\n"
      "add.w r1, r1, r9, lsl #1\n"
      "ldr r0, [sp]\n"
      "add r0, r0, r10\n"
      "str r0, [sp]\n"
      "strd r1, r11, [sp, #12]\n"
      "b 0b\n"
      "9:\n" /* fewer than four: -3 is one */
      "cmn.w r11, #3\n"
      "beq 1f\n"
      "strb.w r3, [r1, r9]\n"
      "cmn.w r11, #2\n"
      "beq 1f\n"
      "strb.w r4, [r1, r9, lsl #1]\n"
      "1:\n"
      "add sp, sp, #20\n"
      "pop {r4-r11, pc}\n");
}
/* clang-format on */

#else

static void convolve_line(const uint32_t *ring, const uint32_t *weights, const line_t *line, int8_t *output,
                          int32_t left) {
  int32_t rows = (int32_t)(line->rows >> 16) + 1;
  int32_t line_words = (int32_t)(line->rows & 0xFFFFu) / 4;
  if (line->body > TWO_WORDS_STRIDE_2) {
    line_words += line->words + (line->body == ANY_WORDS ? 1 : 0);
  }
  for (; left > 0; left -= GROUP, ring += line->advance / 4) {
    for (int32_t i = 0; i < tinyopt_min(left, GROUP); ++i, output += line->step) {
      const uint32_t *x = ring + (i ? line->neighbour[i - 1] / 4 : 0);
      int32_t sum = line->bias;
      for (int32_t n = 0; n < rows * line->words; ++n) {
        sum = tinyopt_smlad(x[n / line->words * line_words + n % line->words], weights[2 * n + (i & 1)], sum);
      }
      *output = tinyopt_requantize_doubled_s8(sum, line->multiplier, line->right, line->offset);
    }
  }
}

#endif

/* A phase of one channel. */
static TINYOPT_NEVER_INLINE void convolve_plane(const plane_t *plane, const line_t *line, const int8_t *input,
                                                int8_t *output) {
  const axis_t *lines = &plane->lines;
  int32_t loaded = 0; /* lines, padding among them */
  int32_t slot = 0;   /* of the ring, for the next line */
  for (int32_t y = 0; y < lines->outputs; ++y) {
    int32_t first = y * lines->stride;
    for (; loaded < first + lines->kernel; ++loaded) {
      int32_t at = loaded - lines->lead;
      const int8_t *source = at >= 0 && at < lines->inputs ? input + at * lines->input_step : NULL;
      if (loaded >= first) {
        load_line(plane, source, plane->ring + slot * plane->line_words);
      }
      slot = slot == lines->kernel - 1 ? 0 : slot + 1;
    }
    /* Line `slot` of the ring is the oldest: it takes the first line of weights. */
    const uint32_t *weights = plane->weights + 2 * plane->words * (lines->kernel - slot);
    convolve_line(plane->ring, weights, line, output + y * lines->output_step, plane->along.outputs);
  }
}

/* What the two axes are, lines across and along. */
static void describe(const tinyopt_depthwise_conv2d_s8 *op, bool turned, plane_t *plane) {
  axis_t *rows = turned ? &plane->along : &plane->lines;
  axis_t *columns = turned ? &plane->lines : &plane->along;
  rows->inputs = op->input_height;
  rows->outputs = op->output_height;
  rows->lead = op->pad_top;
  rows->kernel = op->kernel_height;
  rows->stride = op->stride_height;
  rows->input_step = op->input_width * op->input_channels;
  rows->output_step = op->output_width * op->input_channels;
  columns->inputs = op->input_width;
  columns->outputs = op->output_width;
  columns->lead = op->pad_left;
  columns->kernel = op->kernel_width;
  columns->stride = op->stride_width;
  columns->input_step = columns->output_step = op->input_channels;
}

static void convolve_phase(const tinyopt_depthwise_conv2d_s8 *op, int32_t row, int32_t column, const int8_t *input,
                           int8_t *output, uint32_t *scratch) {
  plane_t plane;
  bool turned = tinyopt_depthwise_conv2d_s8_turned(op);
  describe(op, turned, &plane);
  plane.words = tinyopt_max((plane.along.kernel + 1 + (plane.along.stride & 1)) / 2, 2);
  phase_of(turned ? &plane.along : &plane.lines, op->dilation_height, row);
  phase_of(turned ? &plane.lines : &plane.along, op->dilation_width, column);
  plane.line_words = (plane.along.outputs + GROUP - 1) / GROUP * 2 * plane.along.stride + plane.words;
  plane.padding = tinyopt_pair(op->input_zero_point, op->input_zero_point);
  plane.weights = scratch;
  plane.ring = scratch + 4 * plane.words * plane.lines.kernel;
  for (int32_t i = 0; i < plane.line_words * plane.lines.kernel; ++i) {
    plane.ring[i] = plane.padding;
  }
  if (plane.along.inputs && plane.lines.inputs) {
    input += plane.along.input_offset + plane.lines.input_offset;
  }
  output += plane.along.output_offset + plane.lines.output_offset;
  line_t line = start_plane(op, &plane);
  for (int32_t c = 0; c < op->input_channels; ++c) {
    start_channel(op, &plane, c, &line);
    convolve_plane(&plane, &line, input + c, output + c);
  }
}

void tinyopt_depthwise_conv2d_s8_dsp_lines(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                           void *scratch) {
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t row = 0; row < tinyopt_min(op->dilation_height, op->output_height); ++row) {
      for (int32_t column = 0; column < tinyopt_min(op->dilation_width, op->output_width); ++column) {
        convolve_phase(op, row, column, input, output, scratch);
      }
    }
    int32_t written = op->output_height * op->output_width * op->input_channels;
    if (op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX) {
      tinyopt_block_clamp(output, written, op->clamp_low, op->clamp_high);
    }
    input += op->input_height * op->input_width * op->input_channels;
    output += written;
  }
}
