/* Fully connected layer of blocks of four inputs with the Arm DSP extension: a word of weights meets a word of
 * activations. Both are widened in the same order, so neither is rearranged. */
#include "dsp.h"
#include "rows.h"

void tinyopt_sparse_fully_connected_s8_1x4_dsp(const tinyopt_fully_connected_s8 *op, const int8_t *input,
                                               int8_t *output) {
  for (int32_t row = 0; row < op->rows; ++row, input += op->input_size, output += op->output_size) {
    const int8_t *stream = op->weights;
    for (int32_t o = 0; o < op->output_size; ++o) {
      const int8_t *x = input;
      int32_t sum = op->bias[o];
      uint32_t head;
      do {
        head = (uint8_t)*stream++;
        for (const int8_t *end = stream + 5 * (head & 127u); stream != end; stream += 5) {
          x += 4 * (uint8_t)stream[0];
          uint32_t taps = tinyopt_load_s8x4(x);
          uint32_t weights = tinyopt_load_s8x4(stream + 1);
          sum = tinyopt_smlad(tinyopt_sxtb16(taps), tinyopt_sxtb16(weights), sum);
          sum = tinyopt_smlad(tinyopt_sxtb16_ror8(taps), tinyopt_sxtb16_ror8(weights), sum);
        }
      } while (head & 128u);
      tinyopt_sparse_finish(op, &sum, o, 1, output + o);
    }
  }
}
