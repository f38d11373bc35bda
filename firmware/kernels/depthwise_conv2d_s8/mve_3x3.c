/* 3x3 depthwise convolution with Helium, channel by channel.
 *
 * A line of the image is a row, or a column where those are longer. For one channel, the four lines that two lines of
 * outputs look at are kept as a row of words, one per position: word i holds position i of the four lines, in bytes 0
 * to 3. Sixteen bytes are then a 4x4 piece of the image: it is loaded once, and four products with the weights at four
 * places in it give a 2x2 piece of the output (with stride 2: one output of one line). Two lines on, every word moves
 * down by two bytes and takes in two more lines; as each line of the input is read once, before the outputs that lie in
 * its place are written, this works in place. */
#include "depthwise_conv2d_s8.h"
#include "mve.h"

typedef struct {
  const tinyopt_depthwise_conv2d_s8 *op;
  uint32_t *words;
  int32_t lines;     /* of the input */
  int32_t positions; /* of a line of the input, as far as they are looked at */
  int32_t pad_line;
  int32_t pad_position;
  int32_t input_line; /* bytes from an element to that of the next line, and to the next of the line */
  int32_t input_step;
  int32_t output_lines;
  int32_t outputs; /* of a line */
  int32_t output_line;
  int32_t output_step;
  int8_t outside; /* what is read where there is no line */
} image_t;

typedef struct {
  int32_t bias;
  int32_t multiplier;
  int32_t shift;
  const int8_t *weights; /* a word of zeros, then per position those of three lines and a zero; zeros follow */
} channel_t;

#if TINYOPT_HAS_MVE

/* Move every word down by two bytes; lines `a` and `b` (the next of `step_a`, `step_b` bytes on) come in above. */
static void advance(const image_t *image, const int8_t *a, int32_t step_a, const int8_t *b, int32_t step_b) {
  uint32_t *words = image->words + image->pad_position;
  uint32x4_t lanes = vidupq_n_u32(0, 1);
  uint32x4_t offset_a = vmulq_n_u32(lanes, (uint32_t)step_a);
  uint32x4_t offset_b = vmulq_n_u32(lanes, (uint32_t)step_b);
  __asm__ volatile(
      "wlstp.32 lr, %[count], 2f\n"
      "1:\n"
      "vldrw.u32 q0, [%[words]]\n"
      "vldrb.u32 q1, [%[a], %q[offset_a]]\n"
      "vshr.u32 q0, q0, #16\n"
      "vldrb.u32 q2, [%[b], %q[offset_b]]\n"
      "vsli.32 q0, q1, #16\n"
      "vadd.i32 %q[offset_a], %q[offset_a], %[four_a]\n"
      "vsli.32 q0, q2, #24\n"
      "vadd.i32 %q[offset_b], %q[offset_b], %[four_b]\n"
      "vstrw.32 q0, [%[words]], #16\n"
      "letp lr, 1b\n"
      "2:\n"
      : [words] "+r"(words), [offset_a] "+w"(offset_a), [offset_b] "+w"(offset_b)
      : [count] "r"(image->positions), [a] "r"(a), [b] "r"(b), [four_a] "r"(4 * step_a), [four_b] "r"(4 * step_b)
      : "lr", "q0", "q1", "q2", "memory");
}

/* Requantize the sums in q0 and write the lanes that P0 selects. */
#define FINISH                                                                                                         \
  "vadd.i32 q0, q0, %[bias]\n"                                                                                         \
  "vqrdmulh.s32 q0, q0, %[multiplier]\n"                                                                               \
  "vshr.s32 q1, q0, #31\n" /* ties away from zero: see tinyopt_mve_requantize */                                       \
  "vadd.i32 q0, q0, q1\n"                                                                                              \
  "vrshl.s32 q0, %[shift]\n"                                                                                           \
  "vadd.i32 q0, q0, %[zero_point]\n"                                                                                   \
  "vmax.s32 q0, q0, %q[low]\n"                                                                                         \
  "vmin.s32 q0, q0, %q[high]\n"                                                                                        \
  "vpst\n"                                                                                                             \
  "vstrbt.32 q0, [%[output], %q[places]]\n"

#define SUMS [a] "+Te"(a), [b] "+Te"(b), [c] "=&Te"(c), [d] "=&Te"(d)
#define NUMBERS                                                                                                        \
  [bias] "r"(channel->bias), [multiplier] "r"(channel->multiplier), [shift] "r"(channel->shift),                       \
      [zero_point] "r"(image->op->output_zero_point), [low] "w"(vdupq_n_s32(image->op->clamp_low)),                    \
      [high] "w"(vdupq_n_s32(image->op->clamp_high))

typedef struct {
  const int8_t *words; /* that the next outputs look at */
  int8_t *output;
  uint32x4_t places; /* of four outputs, from `output` */
} place_t;

/* `count` times 2x2 outputs, of which `lanes` are written: the lower ones see the words a byte further down. */
static place_t squares(const image_t *image, const channel_t *channel, place_t at, int32_t count, uint32_t lanes) {
  int32_t a = (int32_t)lanes; /* these two begin with what the loop begins with: registers are scarce */
  int32_t b = count;
  int32_t c;
  int32_t d;
  __asm__ volatile("vmsr p0, %[a]\n"
                   "wls lr, %[b], 2f\n"
                   "1:\n"
                   "vldrb.u8 q0, [%[words]], #8\n"
                   "vmladav.s8 %[a], q0, %q[left]\n"
                   "vshr.u32 q1, q0, #8\n"
                   "vmladav.s8 %[b], q0, %q[right]\n"
                   "vmladav.s8 %[c], q1, %q[left]\n"
                   "vmladav.s8 %[d], q1, %q[right]\n"
                   "vmov q0[2], q0[0], %[a], %[c]\n"
                   "vmov q0[3], q0[1], %[b], %[d]\n" FINISH "add %[output], %[output], %[step]\n"
                   "le lr, 1b\n"
                   "2:\n"
                   : SUMS, [words] "+r"(at.words), [output] "+r"(at.output)
                   : NUMBERS, [step] "r"(2 * image->output_step), [left] "w"(vld1q_s8(channel->weights + 4)),
                     [right] "w"(vld1q_s8(channel->weights)), [places] "w"(at.places)
                   : "lr", "q0", "q1", "memory");
  return at;
}

/* Stride 1: two lines of outputs, or the last one. */
static void two_lines(const image_t *image, const channel_t *channel, bool both, int8_t *output) {
  uint32_t step = (uint32_t)image->output_step;
  place_t at = {(const int8_t *)image->words, output, vidupq_n_u32(0, 1)};
  at.places = vmulq_n_u32(vandq_u32(at.places, vdupq_n_u32(1)), step);
  at.places = vaddq_m_n_u32(at.places, at.places, image->output_line, 0xFF00);
  uint32_t lanes = both ? 0xFFFF : 0x00FF;
  at = squares(image, channel, at, image->outputs / 2, lanes);
  if (image->outputs % 2 != 0) {
    (void)squares(image, channel, at, 1, lanes & 0x0F0F);
  }
}

/* `count` times four outputs of a line, of which `lanes` are written. */
static place_t fours(const image_t *image, const channel_t *channel, place_t at, int32_t count, uint32_t lanes) {
  int8x16_t weights = vreinterpretq_s8_s32(vshlq_n_s32(vreinterpretq_s32_s8(vld1q_s8(channel->weights + 4)), 8));
  int32_t a = (int32_t)lanes; /* these two begin with what the loop begins with: registers are scarce */
  int32_t b = count;
  int32_t c;
  int32_t d;
  __asm__ volatile("vmsr p0, %[a]\n"
                   "wls lr, %[b], 2f\n"
                   "1:\n"
                   "vldrb.u8 q0, [%[words]], #8\n"
                   "vmladav.s8 %[a], q0, %q[weights]\n"
                   "vldrb.u8 q1, [%[words]], #8\n"
                   "vmladav.s8 %[b], q1, %q[weights]\n"
                   "vldrb.u8 q0, [%[words]], #8\n"
                   "vmladav.s8 %[c], q0, %q[weights]\n"
                   "vldrb.u8 q1, [%[words]], #8\n"
                   "vmladav.s8 %[d], q1, %q[weights]\n"
                   "vmov q0[2], q0[0], %[a], %[c]\n"
                   "vmov q0[3], q0[1], %[b], %[d]\n" FINISH "add %[output], %[output], %[step]\n"
                   "le lr, 1b\n"
                   "2:\n"
                   : SUMS, [words] "+r"(at.words), [output] "+r"(at.output)
                   : NUMBERS, [step] "r"(4 * image->output_step), [weights] "w"(weights), [places] "w"(at.places)
                   : "lr", "q0", "q1", "memory");
  return at;
}

/* Stride 2: one line of outputs. */
static void one_line(const image_t *image, const channel_t *channel, int8_t *output) {
  place_t at = {(const int8_t *)image->words, output, vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)image->output_step)};
  at = fours(image, channel, at, image->outputs / 4, 0xFFFF);
  if (image->outputs % 4 != 0) {
    (void)fours(image, channel, at, 1, vctp32q((uint32_t)image->outputs % 4));
  }
}

#else /* the same computation in C, for tests on other machines */

static void advance(const image_t *image, const int8_t *a, int32_t step_a, const int8_t *b, int32_t step_b) {
  uint32_t *words = image->words + image->pad_position;
  for (int32_t i = 0; i < image->positions; ++i) {
    uint32_t above = (uint32_t)(uint8_t)a[i * step_a] << 16 | (uint32_t)(uint8_t)b[i * step_b] << 24;
    words[i] = words[i] >> 16 | above;
  }
}

static int8_t finish(const image_t *image, const channel_t *channel, const uint32_t *words, int32_t below) {
  const tinyopt_depthwise_conv2d_s8 *op = image->op;
  int32_t sum = channel->bias;
  for (int32_t position = 0; position < 3; ++position) {
    for (int32_t line = 0; line < 3; ++line) {
      int32_t x = (int8_t)(uint8_t)(words[position] >> (8 * (line + below)));
      sum = tinyopt_mac(sum, x, channel->weights[4 + 4 * position + line]);
    }
  }
  return tinyopt_requantize_s8(sum, channel->multiplier, channel->shift, op->output_zero_point, op->clamp_low,
                               op->clamp_high);
}

static void two_lines(const image_t *image, const channel_t *channel, bool both, int8_t *output) {
  for (int32_t i = 0; i < image->outputs; ++i, output += image->output_step) {
    output[0] = finish(image, channel, image->words + i, 0);
    if (both) {
      output[image->output_line] = finish(image, channel, image->words + i, 1);
    }
  }
}

static void one_line(const image_t *image, const channel_t *channel, int8_t *output) {
  for (int32_t i = 0; i < image->outputs; ++i, output += image->output_step) {
    *output = finish(image, channel, image->words + 2 * i, 1);
  }
}

#endif

/* Take in lines `line` and `line` + 1, which may lie outside the image. input: the channel's first element. */
static void advance_to(const image_t *image, const int8_t *input, int32_t line) {
  bool has_a = line >= 0 && line < image->lines;
  bool has_b = line + 1 >= 0 && line + 1 < image->lines;
  const int8_t *a = has_a ? input + line * image->input_line : &image->outside;
  const int8_t *b = has_b ? input + (line + 1) * image->input_line : &image->outside;
  advance(image, a, has_a ? image->input_step : 0, b, has_b ? image->input_step : 0);
}

static void convolve_channel(const image_t *image, const channel_t *channel, const int8_t *input, int8_t *output) {
  if (image->op->stride_height == 1) {
    advance_to(image, input, -image->pad_line);
    for (int32_t line = 0; line < image->output_lines; line += 2) {
      advance_to(image, input, line + 2 - image->pad_line);
      two_lines(image, channel, line + 1 < image->output_lines, output + line * image->output_line);
    }
    return;
  }
  advance_to(image, input, -1 - image->pad_line);
  for (int32_t line = 0; line < image->output_lines; ++line) {
    advance_to(image, input, 2 * line + 1 - image->pad_line);
    one_line(image, channel, output + line * image->output_line);
  }
}

static image_t describe(const tinyopt_depthwise_conv2d_s8 *op, uint32_t *words) {
  int32_t channels = op->input_channels;
  image_t rows = {.op = op,
                  .words = words,
                  .lines = op->input_height,
                  .positions = op->input_width,
                  .pad_line = op->pad_top,
                  .pad_position = op->pad_left,
                  .input_line = op->input_width * channels,
                  .input_step = channels,
                  .output_lines = op->output_height,
                  .outputs = op->output_width,
                  .output_line = op->output_width * channels,
                  .output_step = channels,
                  .outside = (int8_t)op->input_zero_point};
  if (!tinyopt_depthwise_conv2d_s8_turned(op)) {
    return rows;
  }
  image_t columns = rows;
  columns.lines = rows.positions;
  columns.positions = rows.lines;
  columns.pad_line = rows.pad_position;
  columns.pad_position = rows.pad_line;
  columns.input_line = rows.input_step;
  columns.input_step = rows.input_line;
  columns.output_lines = rows.outputs;
  columns.outputs = rows.output_lines;
  columns.output_line = rows.output_step;
  columns.output_step = rows.output_line;
  return columns;
}

void tinyopt_depthwise_conv2d_s8_mve_3x3(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                         void *scratch) {
  image_t image = describe(op, scratch);
  int32_t looked_at = op->stride_height == 1 ? (image.outputs + 1) / 2 * 2 + 2 : (image.outputs + 3) / 4 * 8 + 2;
  image.positions = tinyopt_max(0, tinyopt_min(image.positions, looked_at - image.pad_position));
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    tinyopt_mve_fill((int8_t *)image.words, op->input_zero_point, 4 * looked_at);
    for (int32_t c = 0; c < op->input_channels; ++c) {
      int32_t i = c * op->per_channel;
      channel_t channel = {op->bias[c], op->multipliers[i], op->shifts[i], op->weights + 16 * c};
      convolve_channel(&image, &channel, input + c, output + c);
    }
    input += op->input_height * op->input_width * op->input_channels;
    output += op->output_height * op->output_width * op->input_channels;
  }
}
