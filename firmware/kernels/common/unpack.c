#include "unpack.h"

/* Reads a block's codes, four weights at a time. */
typedef struct {
  const uint32_t *next;
  uint32_t word;
  int32_t shift; /* of the codes to come in the word; 8: none */
} codes_t;

/* Four weights by the table. */
static inline uint32_t looked_up(const int8_t *values, uint32_t codes) {
  return (uint32_t)(uint8_t)values[codes & 15u] | (uint32_t)(uint8_t)values[codes >> 8 & 15u] << 8 |
         (uint32_t)(uint8_t)values[codes >> 16 & 15u] << 16 | (uint32_t)(uint8_t)values[codes >> 24] << 24;
}

/* Halves (low, high) as 256 * high + low: where low is negative, high is one less. Halves do not borrow of each other.
 */
static inline uint32_t joined(uint32_t word) {
  uint32_t borrow = (word & 0x00800080u) << 1;
  return ((word & 0xFFFF0000u) - (borrow & 0xFFFF0000u)) | ((word - borrow) & 0xFFFFu);
}

/* `count` weights, a multiple of four. A function of its own, for its registers. */
TINYOPT_NEVER_INLINE static void expand(const tinyopt_packed *packed, codes_t *codes, int32_t count, int8_t *to) {
  uint32_t mask = 0x01010101u * ((1u << packed->bits) - 1u);
  uint32_t step = (uint32_t)packed->step;
  uint32_t low = 0x01010101u * (uint32_t)(uint8_t)packed->low;
  uint32_t sign = low & 0x80808080u;
  uint32_t rest = low ^ sign;
  codes_t at = *codes;
  for (const int8_t *end = to + count; to != end; to += 4) {
    if (at.shift == 8) {
      at.word = *at.next++;
      at.shift = 0;
    }
    uint32_t four = at.word >> at.shift & mask;
    at.shift += packed->bits;
    /* Neither product nor sum of a byte exceeds 255, so none reaches the next. */
    four = packed->values ? looked_up(packed->values, four) : (four * step + rest) ^ sign;
    if (packed->halves) {
      four = joined(four);
    }
    memcpy(to, &four, sizeof four);
  }
  *codes = at;
}

/* Returns where the others go on. */
static const int8_t *copy_others(const int8_t *others, int32_t count, int8_t *to) {
  if (count == 0) {
    return others;
  }
  memcpy(to, others, (size_t)count);
  return others + count;
}

void tinyopt_unpack(const tinyopt_packed *packed, tinyopt_packed_at *at, int32_t blocks, int8_t *to) {
  for (int32_t block = 0; block < blocks; ++block) {
    codes_t codes = {at->codes, 0, 8};
    expand(packed, &codes, packed->first, to);
    to += packed->first;
    at->others = copy_others(at->others, packed->first_others, to);
    to += packed->first_others;
    expand(packed, &codes, packed->second, to);
    to += packed->second;
    at->others = copy_others(at->others, packed->second_others, to);
    to += packed->second_others;
    at->codes = codes.next;
  }
}
