/* Fully connected layer with Helium: four outputs at a time, sixteen inputs per step. */
#include "fully_connected_s8.h"
#include "mve.h"

#if TINYOPT_HAS_MVE

/* Four outputs; returns the stream behind them. The loop is predicated at its last step: nothing is read behind x. */
static const int8_t *compute(const tinyopt_fully_connected_s8 *op, const int8_t *x, const int8_t *stream, int32_t left,
                             int8_t *output) {
  int32_t a = 0;
  int32_t b = 0;
  int32_t c = 0;
  int32_t d = 0;
  int32x4_t sums;
  __asm__ volatile(
      "dlstp.8 lr, %[count]\n"
      "1:\n"
      "vldrb.u8 q0, [%[x]], #16\n"
      "vldrb.u8 q1, [%[weights]], #16\n"
      "vmladava.s8 %[a], q0, q1\n"
      "vldrb.u8 q2, [%[weights]], #16\n"
      "vmladava.s8 %[b], q0, q2\n"
      "vldrb.u8 q1, [%[weights]], #16\n"
      "vmladava.s8 %[c], q0, q1\n"
      "vldrb.u8 q2, [%[weights]], #16\n"
      "vmladava.s8 %[d], q0, q2\n"
      "letp lr, 1b\n"
      "vmov q0[2], q0[0], %[a], %[c]\n"
      "vmov q0[3], q0[1], %[b], %[d]\n"
      "vmov %q[sums], q0\n"
      : [a] "+Te"(a), [b] "+Te"(b), [c] "+Te"(c), [d] "+Te"(d), [x] "+r"(x), [weights] "+r"(stream), [sums] "=w"(sums)
      : [count] "r"(op->input_size)
      : "lr", "q0", "q1", "q2", "memory");
  const int32_t *tail = (const int32_t *)(const void *)stream;
  int32x4_t values = tinyopt_mve_requantize(vaddq_s32(sums, vld1q_s32(tail)), vld1q_s32(tail + 4), vld1q_s32(tail + 8));
  values = tinyopt_mve_output(values, op->output_zero_point, vdupq_n_s32(op->clamp_low), vdupq_n_s32(op->clamp_high));
  vstrbq_p_s32(output, values, vctp32q((uint32_t)left));
  return stream + 48;
}

#else /* the same computation in C, for tests on other machines */

static const int8_t *compute(const tinyopt_fully_connected_s8 *op, const int8_t *x, const int8_t *stream, int32_t left,
                             int8_t *output) {
  const int8_t *weights = stream;
  int32_t tail[12]; /* biases, multipliers, shifts */
  stream += (op->input_size + 15) / 16 * 64;
  memcpy(tail, stream, sizeof tail);
  for (int32_t lane = 0; lane < tinyopt_min(4, left); ++lane) {
    int32_t sum = tail[lane];
    for (int32_t i = 0; i < op->input_size; ++i) {
      sum = tinyopt_mac(sum, x[i], weights[i / 16 * 64 + 16 * lane + i % 16]);
    }
    output[lane] = tinyopt_requantize_s8(sum, tail[4 + lane], tail[8 + lane], op->output_zero_point, op->clamp_low,
                                         op->clamp_high);
  }
  return stream + sizeof tail;
}

#endif

void tinyopt_fully_connected_s8_mve(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    const int8_t *stream = op->weights;
    for (int32_t left = op->output_size; left > 0; left -= 4) {
      stream = compute(op, input, stream, left, output + op->output_size - left);
    }
    input += op->input_size;
    output += op->output_size;
  }
}
