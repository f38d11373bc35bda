/* Depthwise 3x3 convolution with the Arm DSP extension, four channels after the other.
 *
 * Eight lines of four channels' planes at a time, a strip, are copied, widened: one word holds a pixel of four
 * channels, and two pixels make a pair of neighbours for each. SMLAD takes two taps of a line at once. Four
 * neighbouring outputs are computed at a time. Padding is written into the strip, so the loop knows no borders. The
 * last lines of a strip are moved to the next. A line of outputs is written only after the input lines below it were
 * read: input and output may be the same memory.
 *
 * Lines run along the longer side of the image (columns, when it is higher than wide), so that they are few.
 *
 * Requantization takes five instructions: weights and bias are doubled, so SMMULR is the rounding doubling high
 * multiply; then ties go away from zero, as in tinyopt_requantize_doubled_s8. Where negative results are clamped to the
 * zero point anyway (relu), ties do not matter, the two roundings become one, and two instructions are left: weights
 * and bias are scaled by 2^k such that every channel shifts by 11 in the end, which SSAT does besides; all that is
 * added goes into the accumulator of SMMLA. The packing proves for every possible sum that the result is the same. */
#include "blocks_dsp.h"
#include "depthwise_conv2d_s8.h"
#include "dsp.h"

enum { TAPS = 3, LINES = 8, GROUP = 4, WORD = LINES * GROUP, KEPT_FROM = 6, RELU_SHIFT = 11 };

/* What a plane of one channel is computed with; the assembly knows the order. */
typedef struct {
  int32_t bias; /* scaled as the weights are, input zero point folded in */
  int32_t multiplier;
  int32_t offset;             /* 2 * output zero point + 1; relu: of the high multiply, see start_channel */
  int32_t shift;              /* to the right, minus 1; not read for relu */
  uint32_t weights[2 * TAPS]; /* per line: taps (0, 1), taps (1, 2) */
} channel_t;

/* The outputs of a strip; the assembly knows the order. */
typedef struct {
  int32_t lines;     /* at least one */
  int32_t length;    /* bytes of the strip's input: from a line's first element to behind its last output's first one */
  int32_t step;      /* bytes between outputs of a line */
  int32_t line_step; /* bytes between lines */
} outputs_t;

/* The outputs of a strip of `count` channels, at least one. The strip interleaves lines and channels by word, a pair of
 * elements: word i of line n of channel c is at strip[i * WORD + n * GROUP + c]. */
typedef void strip_function(const uint32_t *strip, int8_t *output, const channel_t *channels, const outputs_t *outputs,
                            int32_t count);

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* Registers: r0 strip, r1 output, r2 to r7 weights, r8 to r11 four sums, r12 and lr elements.
 * Frame: 0 bias, multiplier, offset and shift; 16 strip and output of the line, 24 lines left, 28 end of the line, 32
 * the last two fields of outputs_t; 40 strip, output, channel, outputs; 92 channels left. The last outputs of a line
 * may be fewer than four: the pointer went past its end by the bytes of those missing. */
/* clang-format off */
#define STRIP_OF_OUTPUTS(bytes, missing_two, line, rows, requantize, saturate) \
  ".syntax unified\n" \
  "push {r4-r11, lr}\n" \
  "sub sp, sp, #56\n" \
  "strd r0, r1, [sp, #40]\n" \
  "strd r2, r3, [sp, #48]\n" \
  ".balign 4\n" \
  "0:\n" \
  "ldmia r2!, {r4-r7}\n" \
  "mov r8, r0\n" \
  "mov r9, r1\n" \
  "ldmia r3, {r10-r12, lr}\n" \
  "add r11, r11, r0\n" \
  "stmia sp, {r4-r12, lr}\n" \
  "ldmia r2, {r2-r7}\n" \
  ".balign 4\n" \
  "1:\n" \
  "ldr.w r11, [sp]\n" \
  rows \
  requantize \
  "ldrd lr, r12, [sp, #28]\n" \
  "add r0, r0, #" #bytes "\n" \
  "cmp.w r0, lr\n" \
  saturate("r8") \
  "bhi 2f\n" \
  "strb r8, [r1]\n" \
  "add r1, r1, r12\n" \
  saturate("r9") \
  "strb r9, [r1]\n" \
  "add r1, r1, r12\n" \
  saturate("r10") \
  "strb r10, [r1]\n" \
  "add r1, r1, r12\n" \
  saturate("r11") \
  "strb r11, [r1]\n" \
  "add r1, r1, r12\n" \
  "bne.w 1b\n" \
  "b 3f\n" \
  "2:\n" \
  "subs r0, r0, lr\n" \
  "cmp.w r0, #" #missing_two "\n" \
  "strb r8, [r1]\n" \
  "bhi 3f\n" \
  saturate("r9") \
  "strb r9, [r1, r12]\n" \
  "beq 3f\n" \
  saturate("r10") \
  "strb r10, [r1, r12, lsl #1]\n" \
  "3:\n" /* the next line */ \
  "add r12, sp, #16\n" \
  "ldmia r12, {r0, r1, r8-r11}\n" \
  "add r0, r0, #" #line "\n" \
  "add r1, r1, r11\n" \
  "add r9, r9, #" #line "\n" \
  "subs r8, r8, #1\n" \
  "stmia r12, {r0, r1, r8, r9}\n" \
  "bne.w 1b\n" \
  "add r12, sp, #40\n" /* the next channel */ \
  "ldmia r12, {r0-r3}\n" \
  "ldr r4, [sp, #92]\n" \
  "add r0, r0, #4\n" \
  "add r1, r1, #1\n" \
  "add r2, r2, #40\n" \
  "stmia r12, {r0-r2}\n" \
  "subs r4, r4, #1\n" \
  "str r4, [sp, #92]\n" \
  "bne.w 0b\n" \
  "add sp, sp, #56\n" \
  "pop {r4-r11, pc}\n"

/* Words 0 to 2 of a line hold the elements of four outputs, words 0 to 4 with stride 2. Two loads in a row cost less
 * than two apart, so every second row begins with the last word of the row before. The first row begins every sum with
 * the bias in r11, that of the last output last. */
#define LOAD(into, line, word) "ldr.w " into ", [r0, #" #line "*16+" #word "*128]\n"

#define WORD_0(x, first, last) \
  "smlad r8, " x ", " first ", r8\n" \
  "smlatb r9, " x ", " first ", r9\n"
#define WORD_1(x, first, last) \
  "smlabt r8, " x ", " last ", r8\n" \
  "smlad r9, " x ", " last ", r9\n" \
  "smlad r10, " x ", " first ", r10\n" \
  "smlatb r11, " x ", " first ", r11\n"
#define WORD_2(x, first, last) \
  "smlabt r10, " x ", " last ", r10\n" \
  "smlad r11, " x ", " last ", r11\n"

#define ROWS_STRIDE_1 \
  LOAD("r12", 0, 0) LOAD("lr", 0, 1) \
  "smlad r8, r12, r2, r11\n" \
  "smlatb r9, r12, r2, r11\n" \
  "smlabt r8, lr, r3, r8\n" \
  "smlad r9, lr, r3, r9\n" \
  "smlad r10, lr, r2, r11\n" \
  "smlatb r11, lr, r2, r11\n" \
  LOAD("r12", 0, 2) LOAD("lr", 1, 0) \
  WORD_2("r12", "r2", "r3") WORD_0("lr", "r4", "r5") \
  LOAD("r12", 1, 1) LOAD("lr", 1, 2) \
  WORD_1("r12", "r4", "r5") WORD_2("lr", "r4", "r5") \
  LOAD("r12", 2, 0) LOAD("lr", 2, 1) \
  WORD_0("r12", "r6", "r7") WORD_1("lr", "r6", "r7") \
  LOAD("r12", 2, 2) \
  WORD_2("r12", "r6", "r7")

#define BEGIN(sum, x, first) "smlad " sum ", " x ", " first ", r11\n"
#define GO_ON(sum, x, first) "smlad " sum ", " x ", " first ", " sum "\n"
#define END(sum, x, last) "smlabt " sum ", " x ", " last ", " sum "\n"
#define ROW_STRIDE_2(line, begin, first, last) \
  LOAD("r12", line, 0) LOAD("lr", line, 1) \
  begin("r8", "r12", first) END("r8", "lr", last) begin("r9", "lr", first) \
  LOAD("r12", line, 2) LOAD("lr", line, 3) \
  END("r9", "r12", last) begin("r10", "r12", first) END("r10", "lr", last) begin("r11", "lr", first) \
  LOAD("r12", line, 4) \
  END("r11", "r12", last)
#define ROWS_STRIDE_2 \
  ROW_STRIDE_2(0, BEGIN, "r2", "r3") ROW_STRIDE_2(1, GO_ON, "r4", "r5") ROW_STRIDE_2(2, GO_ON, "r6", "r7")

#define FOR_SUMS(instruction) instruction("r8") instruction("r9") instruction("r10") instruction("r11")

#define HIGH_MULTIPLY(sum) "smmulr " sum ", " sum ", r12\n"
#define ADD_SIGN(sum) "add " sum ", " sum ", " sum ", asr #31\n"
#define SHIFT(sum) "asr " sum ", " sum ", r12\n"
#define ADD_OFFSET(sum) "add " sum ", lr\n"
#define REQUANTIZE \
  "ldrd r12, lr, [sp, #4]\n" \
  FOR_SUMS(HIGH_MULTIPLY) \
  "ldr.w r12, [sp, #12]\n" \
  FOR_SUMS(ADD_SIGN) FOR_SUMS(SHIFT) FOR_SUMS(ADD_OFFSET)
#define SATURATE(sum) "ssat " sum ", #8, " sum ", asr #1\n"

#define HIGH_MULTIPLY_ADD(sum) "smmla " sum ", " sum ", r12, lr\n"
#define REQUANTIZE_RELU "ldrd r12, lr, [sp, #4]\n" FOR_SUMS(HIGH_MULTIPLY_ADD)
#define SATURATE_RELU(sum) "ssat " sum ", #8, " sum ", asr #11\n"

#define UNUSED __attribute__((unused))
#define STRIP_FUNCTION(name, ...) \
  __attribute__((naked, noinline)) static void name(const uint32_t *strip UNUSED, int8_t *output UNUSED, \
                                                    const channel_t *channels UNUSED, const outputs_t *outputs UNUSED, \
                                                    int32_t count UNUSED) { \
    __asm__ volatile(STRIP_OF_OUTPUTS(__VA_ARGS__)); \
  }

STRIP_FUNCTION(strip_stride_1, 256, 128, 16, ROWS_STRIDE_1, REQUANTIZE, SATURATE)
STRIP_FUNCTION(strip_stride_2, 512, 256, 32, ROWS_STRIDE_2, REQUANTIZE, SATURATE)
STRIP_FUNCTION(strip_relu_stride_1, 256, 128, 16, ROWS_STRIDE_1, REQUANTIZE_RELU, SATURATE_RELU)
STRIP_FUNCTION(strip_relu_stride_2, 512, 256, 32, ROWS_STRIDE_2, REQUANTIZE_RELU, SATURATE_RELU)
/* clang-format on */

#else /* the same computation in C, for tests on other machines */

static int32_t element(const uint32_t *strip, int32_t line, int32_t at) {
  uint32_t pair = strip[(at >> 1) * WORD + line * GROUP];
  return at & 1 ? tinyopt_high_half(pair) : tinyopt_low_half(pair);
}

static int8_t requantize(const channel_t *channel, int32_t sum, bool relu) {
  if (!relu) {
    return tinyopt_requantize_doubled_s8(sum, channel->multiplier, channel->shift, channel->offset);
  }
  int32_t high = (int32_t)(((int64_t)sum * channel->multiplier) >> 32) + channel->offset;
  return (int8_t)tinyopt_clamp(high >> RELU_SHIFT, INT8_MIN, INT8_MAX);
}

static void strip_of_outputs(const uint32_t *strip, int8_t *output, const channel_t *channel, const outputs_t *outputs,
                             int32_t count, int32_t stride, bool relu) {
  int32_t width = outputs->length / (2 * WORD * stride);
  for (; count > 0; --count, ++channel, ++strip, ++output) {
    for (int32_t i = 0; i < outputs->lines * width; ++i) {
      int32_t y = i / width;
      int32_t x = i % width;
      int32_t sum = channel->bias;
      for (int32_t n = 0; n < TAPS; ++n) {
        const uint32_t *weights = channel->weights + 2 * n;
        sum += element(strip, y * stride + n, x * stride) * tinyopt_low_half(weights[0]);
        sum += element(strip, y * stride + n, x * stride + 1) * tinyopt_high_half(weights[0]);
        sum += element(strip, y * stride + n, x * stride + 2) * tinyopt_high_half(weights[1]);
      }
      output[y * outputs->line_step + x * outputs->step] = requantize(channel, sum, relu);
    }
  }
}

#define STRIP_FUNCTION(name, stride, relu)                                                                             \
  static void name(const uint32_t *strip, int8_t *output, const channel_t *channels, const outputs_t *outputs,         \
                   int32_t count) {                                                                                    \
    strip_of_outputs(strip, output, channels, outputs, count, stride, relu);                                           \
  }

STRIP_FUNCTION(strip_stride_1, 1, false)
STRIP_FUNCTION(strip_stride_2, 2, false)
STRIP_FUNCTION(strip_relu_stride_1, 1, true)
STRIP_FUNCTION(strip_relu_stride_2, 2, true)

#endif

/* The planes of a layer, seen as lines. */
typedef struct {
  int32_t lines, length;         /* of the input */
  int32_t step, line_step;       /* bytes between its elements, between its lines */
  int32_t lead, first_line;      /* elements of padding before a line, lines before the plane */
  int32_t output_lines, outputs; /* lines, and elements of a line */
  int32_t output_step, output_line_step;
} planes_t;

static planes_t describe_planes(const tinyopt_depthwise_conv2d_s8 *op) {
  int32_t c = op->input_channels;
  if (tinyopt_depthwise_conv2d_s8_turned(op)) {
    return (planes_t){op->input_width,  op->input_height,  op->input_width * c,  c, op->pad_top, op->pad_left,
                      op->output_width, op->output_height, op->output_width * c, c};
  }
  return (planes_t){op->input_height,  op->input_width,  c, op->input_width * c, op->pad_left, op->pad_top,
                    op->output_height, op->output_width, c, op->output_width * c};
}

/* Widen two neighbouring pixels of four channels. */
static inline void widen(uint32_t *strip, uint32_t first, uint32_t second) {
  uint32_t low = tinyopt_pack_low(first, second);
  uint32_t high = tinyopt_pack_high(first, second);
  strip[0] = tinyopt_sxtb16(low);
  strip[1] = tinyopt_sxtb16_ror8(low);
  strip[2] = tinyopt_sxtb16(high);
  strip[3] = tinyopt_sxtb16_ror8(high);
}

/* Fill a line of a strip of `pairs`: elements of padding, the input's, then padding. source NULL: padding. */
__attribute__((noinline)) static void load_line(const planes_t *planes, const int8_t *source, uint32_t padding,
                                                uint32_t *strip, int32_t pairs) {
  int32_t step = planes->step;
  if (source) {
    int32_t left = planes->length;
    if (planes->lead) { /* one or two elements */
      uint32_t second = padding;
      if (planes->lead == 1) {
        second = tinyopt_load_s8x4(source);
        source += step;
        --left;
      }
      widen(strip, padding, second);
      strip += WORD;
      --pairs;
    }
    int32_t whole = tinyopt_min(left >> 1, pairs);
    pairs -= whole;
    for (; whole > 1; whole -= 2, strip += 2 * WORD, source += 4 * step) {
      widen(strip, tinyopt_load_s8x4(source), tinyopt_load_s8x4(source + step));
      const int8_t *next = source + 2 * step;
      widen(strip + WORD, tinyopt_load_s8x4(next), tinyopt_load_s8x4(next + step));
    }
    if (whole > 0) {
      widen(strip, tinyopt_load_s8x4(source), tinyopt_load_s8x4(source + step));
      strip += WORD;
      source += 2 * step;
    }
    if ((left & 1) && pairs > 0) {
      widen(strip, tinyopt_load_s8x4(source), padding);
      strip += WORD;
      --pairs;
    }
  }
  padding = tinyopt_sxtb16(padding);
  for (; pairs > 0; --pairs, strip += WORD) {
    strip[0] = strip[1] = strip[2] = strip[3] = padding;
  }
}

static void start_channel(const tinyopt_depthwise_conv2d_s8 *op, int32_t index, bool relu, channel_t *channel) {
  int32_t i = index * op->per_channel;
  int32_t shift = op->shifts[i];
  int32_t scale = 2;
  channel->bias = op->bias[index];
  channel->multiplier = op->multipliers[i];
  if (relu) { /* the zero point, the half that rounds the shift, and the half that rounds the multiplication */
    scale = 1 << shift;
    channel->offset = op->output_zero_point * (1 << RELU_SHIFT) + (1 << (RELU_SHIFT - 1)) + (scale >> 2);
  } else {
    channel->offset = 2 * op->output_zero_point + 1;
    channel->shift = tinyopt_max(-shift - 1, 0); /* no shift goes with a multiplier of zero only */
  }
  const int8_t *taps = op->weights + index * TAPS * TAPS;
  uint32_t *weights = channel->weights;
  for (int32_t n = 0; n < TAPS; ++n, taps += TAPS, weights += 2) {
    weights[0] = tinyopt_pair(taps[0] * scale, taps[1] * scale);
    weights[1] = tinyopt_pair(taps[1] * scale, taps[2] * scale);
  }
}

/* Move the last two lines of a strip to its beginning. */
static void keep_lines(uint32_t *strip, int32_t pairs) {
  for (; pairs > 0; --pairs, strip += WORD) {
    memcpy(strip, strip + KEPT_FROM * GROUP, 2 * GROUP * sizeof *strip);
  }
}

/* The last `count` of the four channels from `first` on. */
static void convolve_group(const tinyopt_depthwise_conv2d_s8 *op, const planes_t *planes, strip_function *compute,
                           bool relu, int32_t first, int32_t count, const int8_t *input, int8_t *output,
                           uint32_t *strip) {
  channel_t channels[GROUP];
  int32_t stride = op->stride_height;
  int32_t pairs = (planes->outputs + 3) / 4 * 2 * stride + 1;
  outputs_t outputs = {0, planes->outputs * stride * 2 * WORD, planes->output_step, planes->output_line_step};
  int32_t skipped = GROUP - count;
  uint32_t padding = (uint32_t)(op->input_zero_point & 255) * 0x01010101u;
  for (int32_t c = skipped; c < GROUP; ++c) {
    start_channel(op, first + c, relu, &channels[c]);
  }
  int32_t at = -planes->first_line; /* the next line to load; it goes to line `slot` of the strip */
  int32_t slot = 0;
  for (int32_t left = planes->output_lines; left > 0; left -= outputs.lines) {
    outputs.lines = tinyopt_min(KEPT_FROM / stride, left);
    for (int32_t end = (outputs.lines - 1) * stride + TAPS; slot < end; ++slot, ++at) {
      bool inside = at >= 0 && at < planes->lines;
      load_line(planes, inside ? input + at * planes->line_step : NULL, padding, strip + slot * GROUP, pairs);
    }
    compute(strip + skipped, output + skipped, &channels[skipped], &outputs, count);
    output += outputs.lines * planes->output_line_step;
    slot = TAPS - stride;
    if (left > outputs.lines) {
      keep_lines(strip, pairs);
    }
  }
}

static void convolve(const tinyopt_depthwise_conv2d_s8 *op, strip_function *compute, bool relu, const int8_t *input,
                     int8_t *output, uint32_t *strip) {
  planes_t planes = describe_planes(op);
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t done = 0; done < op->input_channels; done += GROUP) {
      int32_t first = tinyopt_min(done, op->input_channels - GROUP);
      int32_t count = GROUP - (done - first);
      convolve_group(op, &planes, compute, relu, first, count, input + first, output + first, strip);
    }
    int32_t written = op->output_height * op->output_width * op->input_channels;
    if (op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX) {
      tinyopt_block_clamp(output, written, op->clamp_low, op->clamp_high);
    }
    input += op->input_height * op->input_width * op->input_channels;
    output += written;
  }
}

void tinyopt_depthwise_conv2d_s8_dsp_3x3(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                         void *scratch) {
  convolve(op, strip_stride_1, false, input, output, scratch);
}

void tinyopt_depthwise_conv2d_s8_dsp_3x3_stride_2(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input,
                                                  int8_t *output, void *scratch) {
  convolve(op, strip_stride_2, false, input, output, scratch);
}

void tinyopt_depthwise_conv2d_s8_dsp_3x3_relu(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch) {
  convolve(op, strip_relu_stride_1, true, input, output, scratch);
}

void tinyopt_depthwise_conv2d_s8_dsp_3x3_relu_stride_2(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input,
                                                       int8_t *output, void *scratch) {
  convolve(op, strip_relu_stride_2, true, input, output, scratch);
}
