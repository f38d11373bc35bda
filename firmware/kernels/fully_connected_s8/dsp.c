/* Fully connected layer with the Arm DSP extension: four outputs at a time, so that each activation is widened once
 * for all four. Weights and activations are widened in the same order, so neither is rearranged. */
#include "fully_connected_s8.h"
#include "dsp.h"

static int8_t finish(const tinyopt_fully_connected_s8 *op, int32_t sum, int32_t output) {
  int32_t i = output * op->per_channel;
  int8_t value = tinyopt_requantize_doubled_s8((int32_t)((uint32_t)sum << 1), op->multipliers[i], -op->shifts[i] - 1,
                                               2 * op->output_zero_point + 1);
  return (int8_t)tinyopt_clamp(value, op->clamp_low, op->clamp_high);
}

/* sum + four products. */
static inline int32_t add4(uint32_t x_even, uint32_t x_odd, const int8_t *weights, int32_t sum) {
  uint32_t word = tinyopt_load_s8x4(weights);
  sum = tinyopt_smlad(x_even, tinyopt_sxtb16(word), sum);
  return tinyopt_smlad(x_odd, tinyopt_sxtb16_ror8(word), sum);
}

static inline void add_1x4(uint32_t x, const int8_t *weights, int32_t *sums) {
  uint32_t even = tinyopt_sxtb16(x);
  uint32_t odd = tinyopt_sxtb16_ror8(x);
  sums[0] = add4(even, odd, weights, sums[0]);
  sums[1] = add4(even, odd, weights + 4, sums[1]);
  sums[2] = add4(even, odd, weights + 8, sums[2]);
  sums[3] = add4(even, odd, weights + 12, sums[3]);
}

static void connect_4(const tinyopt_fully_connected_s8 *op, const int8_t *input, const int8_t *weights, int32_t first,
                      int8_t *output) {
  const int32_t *bias = op->bias + first;
  int32_t sums[4] = {bias[0], bias[1], bias[2], bias[3]};
  int32_t tail = op->input_size & 3;
  for (const int8_t *end = input + (op->input_size - tail); input != end; input += 4, weights += 16) {
    add_1x4(tinyopt_load_s8x4(input), weights, sums);
  }
  if (tail) {
    add_1x4(tinyopt_load_s8_tail(input, tail), weights, sums);
  }
  output[first] = finish(op, sums[0], first);
  output[first + 1] = finish(op, sums[1], first + 1);
  output[first + 2] = finish(op, sums[2], first + 2);
  output[first + 3] = finish(op, sums[3], first + 3);
}

static void connect_1(const tinyopt_fully_connected_s8 *op, const int8_t *input, const int8_t *weights, int32_t o,
                      int8_t *output) {
  int32_t sum = op->bias[o];
  for (int32_t left = op->input_size; left > 0; left -= 4, input += 4, weights += 4) {
    uint32_t x = left < 4 ? tinyopt_load_s8_tail(input, left) : tinyopt_load_s8x4(input);
    sum = add4(tinyopt_sxtb16(x), tinyopt_sxtb16_ror8(x), weights, sum);
  }
  output[o] = finish(op, sum, o);
}

void tinyopt_fully_connected_s8_dsp(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output) {
  int32_t padded = (op->input_size + 3) & ~3;
  for (int32_t row = 0; row < op->rows; ++row) {
    const int8_t *weights = op->weights;
    int32_t o = 0;
    for (; o + 3 < op->output_size; o += 4) {
      connect_4(op, input, weights, o, output);
      weights += 4 * padded;
    }
    for (; o < op->output_size; ++o) {
      connect_1(op, input, weights, o, output);
      weights += padded;
    }
    input += op->input_size;
    output += op->output_size;
  }
}
