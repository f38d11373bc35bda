/* Convolution in groups with Helium, patches read where they lie. */
#include "grouped_conv2d_s8.h"

void tinyopt_grouped_conv2d_s8_mve_rows(const tinyopt_grouped_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                        void *scratch) {
  tinyopt_grouped_conv2d_s8_run(op, input, output, scratch, tinyopt_conv2d_s8_mve_rows);
}
