/* Depthwise 3x3 convolution with the Arm DSP extension, four channels after the other.
 *
 * The lines of four channels' planes are copied, widened, into a ring of three: one word holds a pixel of four
 * channels, and two pixels make a pair of neighbours for each. SMLAD takes two taps of a line at once. Four
 * neighbouring outputs are computed at a time. Padding is written into the ring, so the loop knows no borders. A line
 * of outputs is written only after the input lines below it were read: input and output may be the same memory.
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

enum { LINES = 3, GROUP = 4, WORD = LINES * GROUP, RELU_SHIFT = 11 };

/* What a line of one channel is computed with; the assembly knows the order. */
typedef struct {
  uint32_t
      weights[4 * LINES]; /* per line of the ring: taps (0, 1), taps (1, 2); the lines twice, so that any can begin */
  int32_t bias;           /* scaled as the weights are, input zero point folded in */
  int32_t multiplier;
  int32_t offset;      /* 2 * output zero point + 1; relu: of the high multiply, see start_channel */
  int32_t step;        /* bytes between outputs */
  const uint32_t *end; /* of the ring: behind its last output's first element */
  int32_t shift;       /* to the right, minus 1; not read for relu */
} channel_t;

/* A line of outputs of `count` channels, at least one. The ring interleaves lines and channels by word, a pair of
 * elements: word i of line n of channel c is at ring[i * WORD + n * GROUP + c]. Line `turn` / 2 of the channels'
 * weights goes with line 0 of the ring. */
typedef void line_function(const uint32_t *ring, int8_t *output, const channel_t *channels, int32_t turn,
                           int32_t count);

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

/* Registers: r0 ring, r1 output, r2 to r7 weights, r8 to r11 four sums, r12 and lr elements.
 * Frame: 0 the last six fields of channel_t; 24 ring, 28 output, 32 weights, 36 those six fields, of the channel; 76
 * channels left. The last outputs of a line may be fewer than four: the ring went past its end by the bytes of those
 * missing. */
/* clang-format off */
#define LINE_OF_OUTPUTS(bytes, missing_two, rows, requantize, saturate) \
  ".syntax unified\n" \
  "push {r4-r11, lr}\n" \
  "lsls r4, r3, #2\n" \
  "add r3, r2, #48\n" \
  "adds r2, r2, r4\n" \
  "push {r0-r3}\n" \
  "sub sp, sp, #24\n" \
  "0:\n" \
  "ldmia r3, {r4-r9}\n" \
  "stmia sp, {r4-r9}\n" \
  "ldmia r2, {r2-r7}\n" \
  ".balign 4\n" \
  "1:\n" \
  "ldr.w r8, [sp]\n" \
  "mov r9, r8\n" \
  "mov r10, r8\n" \
  "mov r11, r8\n" \
  rows \
  requantize \
  "ldrd r12, lr, [sp, #12]\n" \
  "adds r0, r0, #" #bytes "\n" \
  "cmp r0, lr\n" \
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
  "cmp r0, #" #missing_two "\n" \
  "strb r8, [r1]\n" \
  "bhi 3f\n" \
  saturate("r9") \
  "strb r9, [r1, r12]\n" \
  "beq 3f\n" \
  saturate("r10") \
  "strb r10, [r1, r12, lsl #1]\n" \
  "3:\n" \
  "add r12, sp, #24\n" \
  "ldmia r12, {r0-r3}\n" \
  "adds r0, r0, #4\n" \
  "adds r1, r1, #1\n" \
  "adds r2, r2, #72\n" \
  "adds r3, r3, #72\n" \
  "stmia r12, {r0-r3}\n" \
  "ldr r12, [sp, #76]\n" \
  "subs r12, r12, #1\n" \
  "str r12, [sp, #76]\n" \
  "bne.w 0b\n" \
  "add sp, sp, #40\n" \
  "pop {r4-r11, pc}\n"

/* Words 0 to 2 of a line hold the elements of four outputs, words 0 to 4 with stride 2. Two loads in a row cost less
 * than two apart, so every second row begins with the last word of the row before. */
#define LOAD(into, line, word) "ldr.w " into ", [r0, #" #line "*16+" #word "*48]\n"

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
  WORD_0("r12", "r2", "r3") WORD_1("lr", "r2", "r3") \
  LOAD("r12", 0, 2) LOAD("lr", 1, 0) \
  WORD_2("r12", "r2", "r3") WORD_0("lr", "r4", "r5") \
  LOAD("r12", 1, 1) LOAD("lr", 1, 2) \
  WORD_1("r12", "r4", "r5") WORD_2("lr", "r4", "r5") \
  LOAD("r12", 2, 0) LOAD("lr", 2, 1) \
  WORD_0("r12", "r6", "r7") WORD_1("lr", "r6", "r7") \
  LOAD("r12", 2, 2) \
  WORD_2("r12", "r6", "r7")

#define BEGIN(sum, x, first) "smlad " sum ", " x ", " first ", " sum "\n"
#define END(sum, x, last) "smlabt " sum ", " x ", " last ", " sum "\n"
#define ROW_STRIDE_2(line, first, last) \
  LOAD("r12", line, 0) LOAD("lr", line, 1) \
  BEGIN("r8", "r12", first) END("r8", "lr", last) BEGIN("r9", "lr", first) \
  LOAD("r12", line, 2) LOAD("lr", line, 3) \
  END("r9", "r12", last) BEGIN("r10", "r12", first) END("r10", "lr", last) BEGIN("r11", "lr", first) \
  LOAD("r12", line, 4) \
  END("r11", "r12", last)
#define ROWS_STRIDE_2 ROW_STRIDE_2(0, "r2", "r3") ROW_STRIDE_2(1, "r4", "r5") ROW_STRIDE_2(2, "r6", "r7")

#define FOR_SUMS(instruction) instruction("r8") instruction("r9") instruction("r10") instruction("r11")

#define HIGH_MULTIPLY(sum) "smmulr " sum ", " sum ", r12\n"
#define ADD_SIGN(sum) "add " sum ", " sum ", " sum ", asr #31\n"
#define SHIFT(sum) "asr " sum ", " sum ", r12\n"
#define ADD_OFFSET(sum) "add " sum ", lr\n"
#define REQUANTIZE \
  "ldrd r12, lr, [sp, #4]\n" \
  FOR_SUMS(HIGH_MULTIPLY) \
  "ldr.w r12, [sp, #20]\n" \
  FOR_SUMS(ADD_SIGN) FOR_SUMS(SHIFT) FOR_SUMS(ADD_OFFSET)
#define SATURATE(sum) "ssat " sum ", #8, " sum ", asr #1\n"

#define HIGH_MULTIPLY_ADD(sum) "smmla " sum ", " sum ", r12, lr\n"
#define REQUANTIZE_RELU "ldrd r12, lr, [sp, #4]\n" FOR_SUMS(HIGH_MULTIPLY_ADD)
#define SATURATE_RELU(sum) "ssat " sum ", #8, " sum ", asr #11\n"

#define UNUSED __attribute__((unused))
#define LINE_FUNCTION(name, ...) \
  __attribute__((naked, noinline)) static void name(const uint32_t *ring UNUSED, int8_t *output UNUSED, \
                                                    const channel_t *channels UNUSED, int32_t turn UNUSED, \
                                                    int32_t count UNUSED) { \
    __asm__ volatile(LINE_OF_OUTPUTS(__VA_ARGS__)); \
  }

LINE_FUNCTION(line_stride_1, 96, 48, ROWS_STRIDE_1, REQUANTIZE, SATURATE)
LINE_FUNCTION(line_stride_2, 192, 96, ROWS_STRIDE_2, REQUANTIZE, SATURATE)
LINE_FUNCTION(line_relu_stride_1, 96, 48, ROWS_STRIDE_1, REQUANTIZE_RELU, SATURATE_RELU)
LINE_FUNCTION(line_relu_stride_2, 192, 96, ROWS_STRIDE_2, REQUANTIZE_RELU, SATURATE_RELU)
/* clang-format on */

#else /* the same computation in C, for tests on other machines */

static int32_t element(const uint32_t *ring, int32_t line, int32_t at) {
  uint32_t pair = ring[(at >> 1) * WORD + line * GROUP];
  return at & 1 ? tinyopt_high_half(pair) : tinyopt_low_half(pair);
}

static int8_t requantize(const channel_t *channel, int32_t sum, bool relu) {
  if (!relu) {
    return tinyopt_requantize_doubled_s8(sum, channel->multiplier, channel->shift, channel->offset);
  }
  int32_t high = (int32_t)(((int64_t)sum * channel->multiplier) >> 32) + channel->offset;
  return (int8_t)tinyopt_clamp(high >> RELU_SHIFT, INT8_MIN, INT8_MAX);
}

static void line_of_outputs(const uint32_t *ring, int8_t *output, const channel_t *channel, int32_t turn, int32_t count,
                            int32_t stride, bool relu) {
  for (; count > 0; --count, ++channel, ++ring, ++output) {
    int32_t outputs = (int32_t)(channel->end - ring) * 2 / (WORD * stride);
    for (int32_t i = 0; i < outputs; ++i) {
      int32_t sum = channel->bias;
      for (int32_t n = 0; n < LINES; ++n) {
        const uint32_t *weights = channel->weights + turn + 2 * n;
        sum += element(ring, n, i * stride) * tinyopt_low_half(weights[0]);
        sum += element(ring, n, i * stride + 1) * tinyopt_high_half(weights[0]);
        sum += element(ring, n, i * stride + 2) * tinyopt_high_half(weights[1]);
      }
      output[i * channel->step] = requantize(channel, sum, relu);
    }
  }
}

#define LINE_FUNCTION(name, stride, relu)                                                                              \
  static void name(const uint32_t *ring, int8_t *output, const channel_t *channels, int32_t turn, int32_t count) {     \
    line_of_outputs(ring, output, channels, turn, count, stride, relu);                                                \
  }

LINE_FUNCTION(line_stride_1, 1, false)
LINE_FUNCTION(line_stride_2, 2, false)
LINE_FUNCTION(line_relu_stride_1, 1, true)
LINE_FUNCTION(line_relu_stride_2, 2, true)

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

/* Widen `pairs` >= 0 pairs of pixels of four channels; the pixels of a pair may lie anywhere. Returns where the ring
 * goes on. */
__attribute__((noinline)) static uint32_t *widen(uint32_t *ring, const int8_t *first, const int8_t *second,
                                                 int32_t step, int32_t pairs) {
  for (; pairs > 0; --pairs, ring += WORD, first += step, second += step) {
    uint32_t first_word = tinyopt_load_s8x4(first);
    uint32_t second_word = tinyopt_load_s8x4(second);
    uint32_t first_even = tinyopt_sxtb16(first_word);
    uint32_t second_even = tinyopt_sxtb16(second_word);
    ring[0] = tinyopt_pack_low(first_even, second_even);
    ring[2] = tinyopt_pack_high(first_even, second_even);
    uint32_t first_odd = tinyopt_sxtb16_ror8(first_word);
    uint32_t second_odd = tinyopt_sxtb16_ror8(second_word);
    ring[1] = tinyopt_pack_low(first_odd, second_odd);
    ring[3] = tinyopt_pack_high(first_odd, second_odd);
  }
  return ring;
}

/* Fill a line of the ring of `pairs`: `lead` elements of padding, the input's, then padding. source NULL: padding. */
__attribute__((noinline)) static void load_line(const planes_t *planes, const int8_t *source, const int8_t *padding,
                                                uint32_t *ring, int32_t pairs) {
  int32_t step = planes->step;
  if (source) {
    int32_t left = planes->length;
    int32_t whole = planes->lead >> 1;
    if (planes->lead & 1) {
      ring = widen(ring, padding, source, 0, 1);
      source += step;
      --left;
      --pairs;
    } else {
      ring = widen(ring, padding, padding, 0, whole);
      pairs -= whole;
    }
    whole = tinyopt_min(left >> 1, pairs);
    ring = widen(ring, source, source + step, 2 * step, whole);
    pairs -= whole;
    if ((left & 1) && pairs > 0) {
      ring = widen(ring, source + 2 * step * whole, padding, 0, 1);
      --pairs;
    }
  }
  uint32_t pixel = tinyopt_sxtb16(tinyopt_load_s8x4(padding));
  for (; pairs > 0; --pairs, ring += WORD) {
    ring[0] = ring[1] = ring[2] = ring[3] = pixel;
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
  const int8_t *taps = op->weights + index * LINES * 3;
  uint32_t *weights = channel->weights;
  for (int32_t n = 0; n < LINES; ++n, taps += 3, weights += 2) {
    weights[0] = weights[6] = tinyopt_pair(taps[0] * scale, taps[1] * scale);
    weights[1] = weights[7] = tinyopt_pair(taps[1] * scale, taps[2] * scale);
  }
}

/* The last `count` of the four channels from `first` on. */
static void convolve_group(const tinyopt_depthwise_conv2d_s8 *op, const planes_t *planes, line_function *line,
                           bool relu, int32_t first, int32_t count, const int8_t *input, int8_t *output,
                           uint32_t *ring) {
  channel_t channels[GROUP];
  int32_t stride = op->stride_height;
  int32_t pairs = (planes->outputs + 3) / 4 * 2 * stride + 1;
  int8_t padding[GROUP];
  memset(padding, op->input_zero_point, sizeof padding);
  for (int32_t c = GROUP - count; c < GROUP; ++c) {
    channels[c].step = planes->output_step;
    channels[c].end = ring + planes->outputs * stride * (WORD / 2) + c;
    start_channel(op, first + c, relu, &channels[c]);
  }
  int32_t at = -planes->first_line; /* the next line to load; it goes to line `slot` of the ring */
  int32_t slot = 0;
  for (int32_t y = 0; y < planes->output_lines; ++y) {
    for (int32_t wanted = y * stride - planes->first_line + LINES; at < wanted; ++at) {
      bool inside = at >= 0 && at < planes->lines;
      load_line(planes, inside ? input + at * planes->line_step : NULL, padding, ring + slot * GROUP, pairs);
      slot = slot == LINES - 1 ? 0 : slot + 1;
    }
    /* Line `slot` of the ring is the oldest: it takes the first line of weights. */
    int32_t turn = slot ? 2 * (LINES - slot) : 0;
    line(ring + (GROUP - count), output + (GROUP - count), &channels[GROUP - count], turn, count);
    output += planes->output_line_step;
  }
}

static void convolve(const tinyopt_depthwise_conv2d_s8 *op, line_function *line, bool relu, const int8_t *input,
                     int8_t *output, uint32_t *ring) {
  planes_t planes = describe_planes(op);
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t done = 0; done < op->input_channels; done += GROUP) {
      int32_t first = tinyopt_min(done, op->input_channels - GROUP);
      int32_t count = GROUP - (done - first);
      convolve_group(op, &planes, line, relu, first, count, input + first, output + first, ring);
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
  convolve(op, line_stride_1, false, input, output, scratch);
}

void tinyopt_depthwise_conv2d_s8_dsp_3x3_stride_2(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input,
                                                  int8_t *output, void *scratch) {
  convolve(op, line_stride_2, false, input, output, scratch);
}

void tinyopt_depthwise_conv2d_s8_dsp_3x3_relu(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch) {
  convolve(op, line_relu_stride_1, true, input, output, scratch);
}

void tinyopt_depthwise_conv2d_s8_dsp_3x3_relu_stride_2(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input,
                                                       int8_t *output, void *scratch) {
  convolve(op, line_relu_stride_2, true, input, output, scratch);
}
