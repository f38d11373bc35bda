#include "unpack.h"

/* Reads a block's codes, four weights at a time. */
typedef struct {
  const uint32_t *next;
  uint32_t word; /* what is left of the word before */
  int32_t fours; /* in it */
} codes_t;

/* How codes become weights. Products and sums of bytes stay below 256, so none reaches the next byte. */
typedef struct {
  const int8_t *values;
  uint32_t step;
  uint32_t rest; /* four times the lowest weight, without the signs */
  uint32_t sign;
} meaning_t;

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

static TINYOPT_ALWAYS_INLINE void expand(codes_t *codes, int32_t bits, const meaning_t *meaning, uint32_t *to,
                                         const uint32_t *end, const bool table, const bool halves) {
  const uint32_t mask = 0x01010101u * ((1u << bits) - 1u);
  const int32_t in_word = 8 / bits;
  const meaning_t m = *meaning;
  codes_t at = *codes;
  while (to != end) {
    if (at.fours == 0) {
      at.word = *at.next++;
      at.fours = in_word;
    }
    uint32_t four = at.word & mask;
    at.word >>= bits;
    --at.fours;
    four = table ? looked_up(m.values, four) : (four * m.step + m.rest) ^ m.sign;
    *to++ = halves ? joined(four) : four;
  }
  *codes = at;
}

/* `bytes` bytes of weights. */
TINYOPT_NEVER_INLINE static int8_t *expand_some(const tinyopt_packed *packed, codes_t *codes, int32_t bytes,
                                                int8_t *to) {
  uint32_t low = 0x01010101u * (uint32_t)(uint8_t)packed->low;
  uint32_t sign = low & 0x80808080u;
  meaning_t meaning = {packed->values, (uint32_t)packed->step, low ^ sign, sign};
  uint32_t *words = (uint32_t *)(void *)to;
  const uint32_t *end = words + bytes / 4;
  int32_t bits = packed->bits;
  if (packed->values) {
    expand(codes, bits, &meaning, words, end, true, packed->halves);
  } else if (packed->halves) {
    expand(codes, bits, &meaning, words, end, false, true);
  } else {
    expand(codes, bits, &meaning, words, end, false, false);
  }
  return to + bytes;
}

/* Moves both pointers on. */
static void copy_others(tinyopt_packed_at *at, int32_t bytes, int8_t **to) {
  if (bytes > 0) {
    memcpy(*to, at->others, (size_t)bytes);
    at->others += bytes;
    *to += bytes;
  }
}

void tinyopt_unpack(const tinyopt_packed *packed, tinyopt_packed_at *at, int32_t blocks, int8_t *to) {
  for (int32_t block = 0; block < blocks; ++block) {
    codes_t codes = {at->codes, 0, 0};
    to = expand_some(packed, &codes, packed->first, to);
    copy_others(at, packed->first_others, &to);
    to = expand_some(packed, &codes, packed->second, to);
    copy_others(at, packed->second_others, &to);
    at->codes = codes.next;
  }
}
