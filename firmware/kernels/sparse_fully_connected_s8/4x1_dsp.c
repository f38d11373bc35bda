/* Fully connected layer of blocks of four outputs with the Arm DSP extension. Two blocks at a time: the two activations
 * make a pair, and four SMLADs their eight products with weights that are paired by packing halves. */
#include "dsp.h"
#include "rows.h"

/* Four sums; returns where the next row of blocks begins. */
static const int8_t *add_blocks(const int8_t *x, const int8_t *stream, int32_t *sums) {
  int32_t sum0 = sums[0], sum1 = sums[1], sum2 = sums[2], sum3 = sums[3];
  uint32_t head;
  do {
    head = (uint8_t)*stream++;
    uint32_t blocks = head & 127u;
    for (const int8_t *end = stream + 10 * (blocks / 2); stream != end; stream += 10) {
      x += (uint8_t)stream[0];
      int32_t first = *x;
      x += (uint8_t)stream[5];
      uint32_t taps = tinyopt_pack_low((uint32_t)first, (uint32_t)*x);
      uint32_t one = tinyopt_load_s8x4(stream + 1);
      uint32_t two = tinyopt_load_s8x4(stream + 6);
      uint32_t one_even = tinyopt_sxtb16(one);
      uint32_t two_even = tinyopt_sxtb16(two);
      uint32_t one_odd = tinyopt_sxtb16_ror8(one);
      uint32_t two_odd = tinyopt_sxtb16_ror8(two);
      sum0 = tinyopt_smlad(taps, tinyopt_pack_low(one_even, two_even), sum0);
      sum1 = tinyopt_smlad(taps, tinyopt_pack_low(one_odd, two_odd), sum1);
      sum2 = tinyopt_smlad(taps, tinyopt_pack_high(one_even, two_even), sum2);
      sum3 = tinyopt_smlad(taps, tinyopt_pack_high(one_odd, two_odd), sum3);
    }
    if (blocks & 1u) {
      x += (uint8_t)stream[0];
      int32_t activation = *x;
      sum0 += activation * stream[1];
      sum1 += activation * stream[2];
      sum2 += activation * stream[3];
      sum3 += activation * stream[4];
      stream += 5;
    }
  } while (head & 128u);
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
  return stream;
}

void tinyopt_sparse_fully_connected_s8_4x1_dsp(const tinyopt_fully_connected_s8 *op, const int8_t *input,
                                               int8_t *output) {
  for (int32_t row = 0; row < op->rows; ++row, input += op->input_size) {
    const int8_t *stream = op->weights;
    for (int32_t first = 0; first < op->output_size; first += 4) {
      int32_t count = tinyopt_min(4, op->output_size - first);
      int32_t sums[4] = {0};
      memcpy(sums, op->bias + first, (size_t)count * sizeof *sums);
      stream = add_blocks(input, stream, sums);
      tinyopt_sparse_finish(op, sums, first, count, output);
      output += count;
    }
  }
}
