/* Convolution of signs without counting the bits of a word: 32 output channels share a word, and are counted together.
 *
 * With x and w as bits and T = the set bits among an output's weights, the products of -1 and 1 that are -1 are
 *
 *   differences = sum of (x ^ w) = 2 * (w summed where x = 0) + ones of x - T
 *               = T + ones of x - 2 * (w summed where x = 1),
 *
 * so only the rows of weights of the rarer sign of the patch are added, at most half of them. A row has a bit for each
 * of 32 outputs; rows are added up in slices: bit o of slice p is bit p of the count of output o, and one full adder
 * of five bitwise operations works for all 32. No sum is taken apart: 32 counts are compared with 32 limits slice by
 * slice, which gives a word of packed signs.
 *
 * At the border T would have to be that of the taps inside, so there the ones are subtracted and the zeros added.
 */
#include "signs.h"
#include "xnor_conv2d.h"

#define TINYOPT_XNOR_SLICES 16

/* Adds to the counts in `slices` the rows that are listed: `count` indices, a multiple of the group, into `rows`.
 * Counts are modulo 2^planes, and planes at most 16. */
typedef void tinyopt_xnor_adder(uint32_t *slices, int32_t planes, const uint32_t *rows, const uint16_t *list,
                                int32_t count);

/* What is known of one pixel before its channels are counted. */
typedef struct {
  const tinyopt_xnor_conv2d *op;
  const int32_t *image;
  tinyopt_taps rows;
  tinyopt_taps columns;
  int32_t input_y;
  int32_t input_x;
  int32_t inside; /* signs of the patch that lie inside the image */
  int32_t ones;   /* of these, those that are 1 */
  bool whole;
  bool adds_ones; /* of a whole patch: the rows of ones are added, not those of zeros */
} tinyopt_xnor_place;

static TINYOPT_ALWAYS_INLINE const int32_t *tinyopt_xnor_words(const tinyopt_xnor_place *place, int32_t ky,
                                                               int32_t kx) {
  const tinyopt_xnor_conv2d *op = place->op;
  int32_t row = place->input_y + ky * op->dilation_height;
  int32_t column = place->input_x + kx * op->dilation_width;
  return place->image + (row * op->input_width + column) * op->input_channels;
}

static TINYOPT_NEVER_INLINE int32_t tinyopt_xnor_ones(const tinyopt_xnor_place *place) {
  const tinyopt_xnor_conv2d *op = place->op;
  const tinyopt_sign_masks masks = tinyopt_make_sign_masks();
  int32_t ones = 0;
  for (int32_t ky = place->rows.first; ky < place->rows.end; ++ky) {
    for (int32_t kx = place->columns.first; kx < place->columns.end; ++kx) {
      const int32_t *words = tinyopt_xnor_words(place, ky, kx);
      for (int32_t i = 0; i < op->input_channels; ++i) {
        ones = tinyopt_add_bytes(ones, tinyopt_bytes_of_one((uint32_t)words[i], masks));
      }
    }
  }
  return ones;
}

/* Written in any case, kept where the bit is set: a branch would cost more. */
static TINYOPT_ALWAYS_INLINE uint16_t *tinyopt_xnor_put(uint16_t *list, uint32_t word, int32_t bit, int32_t row) {
  *list = (uint16_t)(row + bit);
  list += (word >> bit) & 1u;
#if defined(__GNUC__)
  __asm__("" : "+r"(list)); /* or GCC would keep many addresses for later, and run out of registers */
#endif
  return list;
}

/* The numbers of the set bits of a word, the lowest being `row`. */
static TINYOPT_ALWAYS_INLINE uint16_t *tinyopt_xnor_select(uint16_t *list, uint32_t word, int32_t row) {
  for (; word != 0; word >>= 8, row += 8) {
    list = tinyopt_xnor_put(list, word, 0, row);
    list = tinyopt_xnor_put(list, word, 1, row);
    list = tinyopt_xnor_put(list, word, 2, row);
    list = tinyopt_xnor_put(list, word, 3, row);
    list = tinyopt_xnor_put(list, word, 4, row);
    list = tinyopt_xnor_put(list, word, 5, row);
    list = tinyopt_xnor_put(list, word, 6, row);
    list = tinyopt_xnor_put(list, word, 7, row);
  }
  return list;
}

/* List the rows of the patch's ones, or of its zeros, and fill the last group with the row of zeros. The length. */
static TINYOPT_NEVER_INLINE int32_t tinyopt_xnor_list(const tinyopt_xnor_place *place, bool ones, int32_t group,
                                                      uint16_t *list) {
  const tinyopt_xnor_conv2d *op = place->op;
  const uint32_t flip = ones ? 0u : ~0u;
  const uint32_t last = ~0u >> (-op->channels & 31);
  const int32_t none = op->kernel_height * op->kernel_width * op->channels;
  uint16_t *end = list;
  for (int32_t ky = place->rows.first; ky < place->rows.end; ++ky) {
    for (int32_t kx = place->columns.first; kx < place->columns.end; ++kx) {
      const int32_t *words = tinyopt_xnor_words(place, ky, kx);
      int32_t row = (ky * op->kernel_width + kx) * op->channels;
      for (int32_t left = op->input_channels; left > 0; --left, row += 32) {
        uint32_t word = (uint32_t)*words++ ^ flip;
        end = tinyopt_xnor_select(end, left == 1 ? word & last : word, row);
      }
    }
  }
  int32_t count = (int32_t)(end - list);
  for (; count % group != 0; ++count) {
    *end++ = (uint16_t)none;
  }
  return count;
}

/* All counts are `value`, modulo 2^planes. */
static inline void tinyopt_xnor_start(uint32_t *slices, int32_t planes, int32_t value) {
  for (int32_t p = 0; p < planes; ++p) {
    slices[p] = 0u - (((uint32_t)value >> p) & 1u);
  }
}

/* Bit o is set where 2 * count + low is at most the limit of output o; limits are slices too, `planes` + 1 of them. */
static inline uint32_t tinyopt_xnor_at_most(const uint32_t *slices, int32_t planes, uint32_t low,
                                            const uint32_t *limits) {
  uint32_t above = (0u - low) & ~*limits++;
  for (int32_t p = 0; p < planes; ++p) {
    uint32_t limit = *limits++;
    above = (slices[p] & ~limit) | (above & ~(slices[p] ^ limit));
  }
  return ~above;
}

/* The counts of 32 outputs as numbers. Four outputs are a bit of each byte; bytes hold eight slices. */
static inline void tinyopt_xnor_numbers(const uint32_t *slices, int32_t planes, int32_t *counts) {
  for (int32_t i = 0; i < 8; ++i) {
    uint32_t low = 0;
    uint32_t high = 0;
    for (int32_t p = 0; p < planes && p < 8; ++p) {
      low |= ((slices[p] >> i) & 0x01010101u) << p;
    }
    for (int32_t p = 8; p < planes; ++p) {
      high |= ((slices[p] >> i) & 0x01010101u) << (p - 8);
    }
    for (int32_t byte = 0; byte < 4; ++byte) {
      counts[i + 8 * byte] = (int32_t)(((low >> (8 * byte)) & 0xFFu) | (((high >> (8 * byte)) & 0xFFu) << 8));
    }
  }
}

/* int8 results of a block of outputs: base + bias + 2 * sign * totals + factor * counts, requantized. */
static inline void tinyopt_xnor_results(const tinyopt_xnor_place *place, const int32_t *counts, int32_t first,
                                        int32_t channels, int8_t *output) {
  const tinyopt_xnor_conv2d *op = place->op;
  const int32_t base = place->inside - (place->whole ? 2 * place->ones : 0);
  const int32_t factor = place->whole ? (place->adds_ones ? 4 : -4) : -2;
  const int32_t share = place->whole ? (place->adds_ones ? -2 : 2) : 0;
  for (int32_t i = 0; i < channels; ++i) {
    int32_t channel = first + i;
    int32_t scale = channel * op->per_channel;
    int32_t sum = base + share * op->totals[channel] + factor * counts[i];
    output[i] = tinyopt_requantize_s8(tinyopt_mac(op->bias[channel], sum, 1), op->multipliers[scale], op->shifts[scale],
                                      op->output_zero_point, op->clamp_low, op->clamp_high);
  }
}

/* All channels of one pixel; exactly one of `signs` and `bytes` is not NULL. */
static TINYOPT_ALWAYS_INLINE void tinyopt_xnor_channels(const tinyopt_xnor_place *place, tinyopt_xnor_adder *add,
                                                        int32_t group, uint16_t *list, uint32_t *signs, int8_t *bytes) {
  const tinyopt_xnor_conv2d *op = place->op;
  const int32_t size = op->kernel_height * op->kernel_width * op->channels;
  const int32_t blocks = (op->output_channels + 31) >> 5;
  const int32_t planes = op->planes;
  uint32_t slices[TINYOPT_XNOR_SLICES];
  /* What is compared is 2 * count + offset, plus one so that a limit of zero is never met. */
  int32_t offset = place->adds_ones ? size - place->ones + 1 : place->ones + 1;
  int32_t start = signs ? offset >> 1 : 0;
  int32_t set = place->adds_ones ? 1 : 0;
  int32_t ones = 0;
  if (!place->whole) {
    offset = size - place->inside + 1;
    start = place->ones + (signs ? offset >> 1 : 0);
    set = 2;
    ones = tinyopt_xnor_list(place, true, group, list);
  }
  const int32_t others = tinyopt_xnor_list(place, place->adds_ones, group, list + ones);
  const uint32_t *limits = op->limits + set * blocks * (planes + 1);
  for (int32_t block = 0; block < blocks; ++block) {
    const uint32_t *rows = op->weights + block * (size + 1);
    if (place->whole) {
      tinyopt_xnor_start(slices, planes, start);
    } else { /* start - ones = -(ones - start - 1) - 1: the complement of all bits */
      tinyopt_xnor_start(slices, planes, -1 - start);
      add(slices, planes, rows, list, ones);
      for (int32_t p = 0; p < planes; ++p) {
        slices[p] = ~slices[p];
      }
    }
    add(slices, planes, rows, list + ones, others);
    if (signs) {
      uint32_t word = tinyopt_xnor_at_most(slices, planes, (uint32_t)offset & 1u, limits);
      signs[block] = place->adds_ones ? ~word : word;
      limits += planes + 1;
    } else {
      int32_t counts[32];
      int32_t first = 32 * block;
      tinyopt_xnor_numbers(slices, planes, counts);
      tinyopt_xnor_results(place, counts, first, tinyopt_min(32, op->output_channels - first), bytes + first);
    }
  }
}

/* `group`: the adder takes multiples of so many rows. */
static TINYOPT_ALWAYS_INLINE void tinyopt_xnor_convolve_sliced(const tinyopt_xnor_conv2d *op, const int32_t *input,
                                                               tinyopt_xnor_adder *add, int32_t group, uint16_t *list,
                                                               uint32_t *signs, int8_t *bytes) {
  const int32_t size = op->kernel_height * op->kernel_width * op->channels;
  tinyopt_xnor_place place;
  place.op = op;
  place.image = input;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      place.input_y = y * op->stride_height - op->pad_top;
      place.rows = tinyopt_taps_inside(place.input_y, op->kernel_height, op->dilation_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        place.input_x = x * op->stride_width - op->pad_left;
        place.columns = tinyopt_taps_inside(place.input_x, op->kernel_width, op->dilation_width, op->input_width);
        place.inside = (place.rows.end - place.rows.first) * (place.columns.end - place.columns.first) * op->channels;
        place.ones = tinyopt_xnor_ones(&place);
        place.whole = place.inside == size;
        place.adds_ones = place.whole && 2 * place.ones <= size;
        tinyopt_xnor_channels(&place, add, group, list, signs, bytes);
        if (signs) {
          signs += (op->output_channels + 31) >> 5;
        } else {
          bytes += op->output_channels;
        }
      }
    }
    place.image += op->input_height * op->input_width * op->input_channels;
  }
}
