/* Convolution of signs in portable C. With the Arm DSP extension, one instruction adds the bytes of counted bits. */
#include "pixels.h"

void tinyopt_xnor_conv2d_s8_ref(const tinyopt_xnor_conv2d *op, const int32_t *input, int8_t *output, void *scratch) {
  tinyopt_xnor_output place = {NULL, output};
  tinyopt_xnor_convolve(op, input, place, scratch);
}

void tinyopt_xnor_conv2d_bits_ref(const tinyopt_xnor_conv2d *op, const int32_t *input, int32_t *output, void *scratch) {
  tinyopt_xnor_output place = {(uint32_t *)output, NULL};
  tinyopt_xnor_convolve(op, input, place, scratch);
}
