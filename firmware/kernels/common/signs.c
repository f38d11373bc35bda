/* Bits in which rows of words differ; see signs.h. */
#include "signs.h"

/* Threes of words whose bytes are added before these are: a byte holds the sums of ten words of eight bits, and more.
 */
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
#define THREES 1
#else
#define THREES 9
#endif

/* Rows of one or two words: the patch stays in registers. */
static TINYOPT_NEVER_INLINE void count_short(const uint32_t *patch, const uint32_t *weights, int32_t words,
                                             int32_t rows, int32_t *counts) {
  const tinyopt_sign_masks masks = tinyopt_make_sign_masks();
  const uint32_t first = patch[0];
  const uint32_t *end = weights + rows * words;
  if (words == 1) {
    while (weights != end) {
      *counts++ = tinyopt_add_bytes(0, tinyopt_bytes_of_one(first ^ *weights++, masks));
    }
    return;
  }
  for (const uint32_t second = patch[1]; weights != end; weights += 2) {
    *counts++ = tinyopt_add_bytes(0, tinyopt_bytes_of_two(first ^ weights[0], second ^ weights[1], masks));
  }
}

static TINYOPT_ALWAYS_INLINE uint32_t different(const uint32_t *x, const uint32_t *w, const uint32_t *inside,
                                                int32_t i) {
  return inside ? (x[i] ^ w[i]) & inside[i] : x[i] ^ w[i];
}

static TINYOPT_ALWAYS_INLINE int32_t count_row(const uint32_t *x, const uint32_t *w, const uint32_t *inside,
                                               int32_t words, tinyopt_sign_masks masks) {
  int32_t total = 0;
  while (words >= 3) {
    uint32_t bytes = 0;
    for (int32_t i = 0; i < THREES && words >= 3; ++i, words -= 3, x += 3, w += 3) {
      bytes += tinyopt_bytes_of_three(different(x, w, inside, 0), different(x, w, inside, 1),
                                      different(x, w, inside, 2), masks);
      inside += inside ? 3 : 0;
    }
    total = tinyopt_add_bytes(total, bytes);
  }
  if (words == 2) {
    uint32_t bytes = tinyopt_bytes_of_two(different(x, w, inside, 0), different(x, w, inside, 1), masks);
    return tinyopt_add_bytes(total, bytes);
  }
  return words == 0 ? total : tinyopt_add_bytes(total, tinyopt_bytes_of_one(different(x, w, inside, 0), masks));
}

static TINYOPT_NEVER_INLINE void count_whole(const uint32_t *patch, const uint32_t *weights, int32_t words,
                                             int32_t rows, int32_t *counts) {
  const tinyopt_sign_masks masks = tinyopt_make_sign_masks();
  for (; rows > 0; --rows, weights += words) {
    *counts++ = count_row(patch, weights, NULL, words, masks);
  }
}

static TINYOPT_NEVER_INLINE void count_inside(const uint32_t *patch, const uint32_t *inside, const uint32_t *weights,
                                              int32_t words, int32_t rows, int32_t *counts) {
  const tinyopt_sign_masks masks = tinyopt_make_sign_masks();
  for (; rows > 0; --rows, weights += words) {
    *counts++ = count_row(patch, weights, inside, words, masks);
  }
}

void tinyopt_count_differences(const uint32_t *patch, const uint32_t *inside, const uint32_t *weights, int32_t words,
                               int32_t rows, int32_t *counts) {
  if (inside) {
    count_inside(patch, inside, weights, words, rows, counts);
  } else if (words < 3) {
    count_short(patch, weights, words, rows, counts);
  } else {
    count_whole(patch, weights, words, rows, counts);
  }
}
