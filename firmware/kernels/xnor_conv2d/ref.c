/* Convolution of signs in portable C. */
#include "signs.h"

static TINYOPT_ALWAYS_INLINE int32_t count_patch(const uint32_t *patch, const uint32_t *weights, int32_t words) {
  return tinyopt_count_differences(patch, weights, words);
}

#include "pixels.h"

void tinyopt_xnor_conv2d_s8_ref(const tinyopt_xnor_conv2d *op, const int32_t *input, int8_t *output, void *scratch) {
  convolve(op, input, NULL, output, scratch);
}

void tinyopt_xnor_conv2d_bits_ref(const tinyopt_xnor_conv2d *op, const int32_t *input, int32_t *output, void *scratch) {
  convolve(op, input, (uint32_t *)output, NULL, scratch);
}
