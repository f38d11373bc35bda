/* Fully connected layer of blocks of four outputs: an activation is loaded once for the four. */
#include "rows.h"

/* Four sums; returns where the next row of blocks begins. */
static const int8_t *add_blocks(const int8_t *x, const int8_t *stream, int32_t *sums) {
  int32_t sum0 = sums[0], sum1 = sums[1], sum2 = sums[2], sum3 = sums[3];
  uint32_t head;
  do {
    head = (uint8_t)*stream++;
    for (uint32_t left = head & 127u; left > 0; --left, stream += 5) {
      x += (uint8_t)stream[0];
      int32_t activation = *x;
      sum0 += activation * stream[1];
      sum1 += activation * stream[2];
      sum2 += activation * stream[3];
      sum3 += activation * stream[4];
    }
  } while (head & 128u);
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
  return stream;
}

void tinyopt_sparse_fully_connected_s8_4x1(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output) {
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
