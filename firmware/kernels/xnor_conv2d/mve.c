/* Convolution of signs by slices of counts (sliced.h), with Helium: four rows of 32 outputs in a vector, each lane with
 * counts of its own until the end. */
#include "mve.h"
#include "sliced.h"

#define GROUP 32
#define PLANES TINYOPT_XNOR_SLICES

#if TINYOPT_HAS_MVE
/* The next four rows. */
static TINYOPT_ALWAYS_INLINE uint32x4_t gather(const uint32_t *rows, const uint16_t *list) {
  return vldrwq_gather_shifted_offset_u32(rows, vldrhq_u32(list));
}

/* A full adder of 128 bits at once: a + b + c = sum + 2 * carry. */
static TINYOPT_ALWAYS_INLINE uint32x4_t carry_of(uint32x4_t *sum, uint32x4_t b, uint32x4_t c) {
  uint32x4_t a = *sum;
  uint32x4_t half = veorq_u32(a, b);
  *sum = veorq_u32(half, c);
  return vorrq_u32(vandq_u32(a, b), vandq_u32(half, c));
}

static inline uint32_t carry_of_words(uint32_t *sum, uint32_t b, uint32_t c) {
  uint32_t a = *sum;
  uint32_t half = a ^ b;
  *sum = half ^ c;
  return (a & b) | (half & c);
}

/* The counts of all lanes, added to the slices. Lanes are added in pairs as vectors, the two sums as words. */
static inline void add_lanes(uint32_t *slices, int32_t planes, const uint32_t *lanes, int32_t used) {
  uint32x4_t carry = vdupq_n_u32(0);
  uint32_t between = 0;
  uint32_t total = 0;
  for (int32_t p = 0; p < planes; ++p) {
    uint32x4_t pairs = carry; /* above the last slice that is used, nothing is left but carries */
    if (p < used) {
      pairs = vldrwq_u32(lanes + 4 * p);
      carry = carry_of(&pairs, vldrwq_u32(lanes + 4 * p + 1), carry);
    } else {
      carry = vdupq_n_u32(0);
    }
    uint32_t sum = vgetq_lane_u32(pairs, 0);
    between = carry_of_words(&sum, vgetq_lane_u32(pairs, 2), between);
    total = carry_of_words(&slices[p], sum, total);
  }
}

static TINYOPT_NEVER_INLINE void add_rows(uint32_t *slices, int32_t planes, const uint32_t *rows, const uint16_t *list,
                                          int32_t count) {
  uint32_t lanes[4 * PLANES + 4];
  int32_t used = 3;
  while ((count >> 2) >> used != 0) {
    vstrwq_u32(lanes + 4 * used++, vdupq_n_u32(0));
  }
  uint32x4_t ones = vdupq_n_u32(0);
  uint32x4_t twos = vdupq_n_u32(0);
  uint32x4_t fours = vdupq_n_u32(0);
  for (; count > 0; count -= GROUP, list += GROUP) {
    uint32x4_t two = carry_of(&ones, gather(rows, list), gather(rows, list + 4));
    uint32x4_t other_two = carry_of(&ones, gather(rows, list + 8), gather(rows, list + 12));
    uint32x4_t four = carry_of(&twos, two, other_two);
    two = carry_of(&ones, gather(rows, list + 16), gather(rows, list + 20));
    other_two = carry_of(&ones, gather(rows, list + 24), gather(rows, list + 28));
    uint32x4_t carry = carry_of(&fours, four, carry_of(&twos, two, other_two));
    for (int32_t p = 3; p < used; ++p) {
      uint32x4_t before = vldrwq_u32(lanes + 4 * p);
      vstrwq_u32(lanes + 4 * p, veorq_u32(before, carry));
      carry = vandq_u32(carry, before);
    }
  }
  vstrwq_u32(lanes, ones);
  vstrwq_u32(lanes + 4, twos);
  vstrwq_u32(lanes + 8, fours);
  lanes[4 * used] = 0; /* read beside the last lane, and not used */
  add_lanes(slices, planes, lanes, used);
}
#else
static void add_rows(uint32_t *slices, int32_t planes, const uint32_t *rows, const uint16_t *list, int32_t count) {
  for (int32_t i = 0; i < count; ++i) {
    uint32_t carry = rows[list[i]];
    for (int32_t p = 0; p < planes; ++p) {
      uint32_t before = slices[p];
      slices[p] = before ^ carry;
      carry &= before;
    }
  }
}
#endif

void tinyopt_xnor_conv2d_s8_mve(const tinyopt_xnor_conv2d *op, const int32_t *input, int8_t *output, void *scratch) {
  tinyopt_xnor_convolve_sliced(op, input, add_rows, GROUP, scratch, NULL, output);
}

void tinyopt_xnor_conv2d_bits_mve(const tinyopt_xnor_conv2d *op, const int32_t *input, int32_t *output, void *scratch) {
  tinyopt_xnor_convolve_sliced(op, input, add_rows, GROUP, scratch, (uint32_t *)output, NULL);
}
