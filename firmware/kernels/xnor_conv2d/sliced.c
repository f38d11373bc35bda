/* Convolution of signs by slices of counts (sliced.h), in portable C. */
#include "sliced.h"

#define GROUP 8

/* A full adder of 32 bits at once: a + b + c = sum + 2 * carry. */
static TINYOPT_ALWAYS_INLINE uint32_t carry_of(uint32_t *sum, uint32_t b, uint32_t c) {
  uint32_t a = *sum;
  uint32_t half = a ^ b;
  *sum = half ^ c;
  return (a & b) | (half & c);
}

/* Adds eight rows: seven full adders leave a slice of eights. */
static TINYOPT_ALWAYS_INLINE uint32_t add_eight(uint32_t *low, const uint32_t *rows, const uint16_t *list) {
  uint32_t two = carry_of(&low[0], rows[list[0]], rows[list[1]]);
  uint32_t other_two = carry_of(&low[0], rows[list[2]], rows[list[3]]);
  uint32_t four = carry_of(&low[1], two, other_two);
  two = carry_of(&low[0], rows[list[4]], rows[list[5]]);
  other_two = carry_of(&low[0], rows[list[6]], rows[list[7]]);
  uint32_t other_four = carry_of(&low[1], two, other_two);
  return carry_of(&low[2], four, other_four);
}

/* Sixteens run through the slices above, as far as they carry. */
static TINYOPT_ALWAYS_INLINE void add_sixteens(uint32_t *slice, const uint32_t *end, uint32_t carry) {
  while (carry != 0 && slice != end) {
    uint32_t before = *slice;
    *slice++ = before ^ carry;
    carry &= before;
  }
}

static TINYOPT_NEVER_INLINE void add_rows(uint32_t *slices, int32_t planes, const uint32_t *rows, const uint16_t *list,
                                          int32_t count) {
  uint32_t low[4] = {slices[0], slices[1], slices[2], slices[3]}; /* in registers */
  const uint32_t *const end = slices + planes;
  for (; count >= 2 * GROUP; count -= 2 * GROUP, list += 2 * GROUP) {
    uint32_t eight = add_eight(low, rows, list);
    uint32_t other_eight = add_eight(low, rows, list + GROUP);
    add_sixteens(slices + 4, end, carry_of(&low[3], eight, other_eight));
  }
  if (count > 0) {
    uint32_t eight = add_eight(low, rows, list);
    add_sixteens(slices + 4, end, low[3] & eight);
    low[3] ^= eight;
  }
  memcpy(slices, low, sizeof low);
}

void tinyopt_xnor_conv2d_s8_sliced(const tinyopt_xnor_conv2d *op, const int32_t *input, int8_t *output, void *scratch) {
  tinyopt_xnor_convolve_sliced(op, input, add_rows, GROUP, scratch, NULL, output);
}

void tinyopt_xnor_conv2d_bits_sliced(const tinyopt_xnor_conv2d *op, const int32_t *input, int32_t *output,
                                     void *scratch) {
  tinyopt_xnor_convolve_sliced(op, input, add_rows, GROUP, scratch, (uint32_t *)output, NULL);
}
