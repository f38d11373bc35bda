/* Sum of int8 tensors as one linear form, of which the packing has proved that every pair of operands gives what the
 * three rescalings give. */
#include "add_s8.h"

void tinyopt_add_s8_linear(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  int32_t a_factor = op->a_factor;
  int32_t b_factor = op->b_multiplier;
  int32_t offset = op->a_offset;
  int32_t right = op->output_shift;
  int32_t low = op->clamp_low;
  uint32_t range = (uint32_t)(op->clamp_high - low);
  const int8_t *end = output + op->broadcast.columns;
  while (output < end) {
    int32_t value = (*a++ * a_factor + (*b++ * b_factor + offset)) >> right;
    if ((uint32_t)value > range) { /* rare, so one test serves both ends */
      value = value < 0 ? 0 : (int32_t)range;
    }
    *output++ = (int8_t)(value + low);
  }
}
