/* Fully connected layer of two weights in four. */
#include "rows.h"

void tinyopt_sparse_fully_connected_s8_2of4(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output) {
  tinyopt_sparse_connect(op, input, output, tinyopt_sparse_row_2of4);
}
