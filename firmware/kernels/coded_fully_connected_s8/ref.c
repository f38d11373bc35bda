/* Fully connected layer whose weights are decoded a few at a time. */
#include "coded_fully_connected_s8.h"
#include "dot.h"
#include "huffman.h"

enum { PIECE = 64 }; /* weights that are decoded at a time, on the stack */

void tinyopt_coded_fully_connected_s8_ref(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output) {
  for (int32_t row = 0; row < op->rows; ++row, input += op->input_size) {
    tinyopt_huffman reader;
    tinyopt_huffman_open(&reader, op->weights);
    for (int32_t o = 0; o < op->output_size; ++o) {
      int32_t sum = op->bias[o];
      int32_t i = o * op->per_channel;
      for (int32_t done = 0; done < op->input_size; done += PIECE) {
        int8_t weights[PIECE];
        int32_t count = tinyopt_min(PIECE, op->input_size - done);
        tinyopt_huffman_read(&reader, weights, count);
        sum = tinyopt_dot_s8(sum, input + done, weights, count);
      }
      *output++ = tinyopt_requantize_s8(sum, op->multipliers[i], op->shifts[i], op->output_zero_point, op->clamp_low,
                                        op->clamp_high);
    }
  }
}
