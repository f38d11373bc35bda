/* Fully connected layer with the Arm DSP extension, eight outputs at a time, packed weights expanded in pieces. */
#include "packed_fully_connected_s8.h"

void tinyopt_packed_fully_connected_s8_dsp_8(const tinyopt_packed_fully_connected_s8 *op, const int8_t *input,
                                             int8_t *output, void *scratch) {
  tinyopt_packed_fully_connected_s8_by(op, input, output, scratch, tinyopt_fully_connected_s8_dsp_8);
}
