/* Sums of neighbouring int8 channels over lines of pixels with the Arm DSP extension: SXTAB16 adds four channels to two
 * pairs of 16-bit sums.
 *
 * Channels are worked on in groups of eight: two words, the second of which begins four bytes behind the first, or less
 * where there are fewer than eight channels. The last group is moved forward to end with the last channel, so that
 * some channels are computed twice, with the same result. At least four channels.
 */
#ifndef TINYOPT_SUMS_DSP_H
#define TINYOPT_SUMS_DSP_H

#include "common.h"
#include "dsp.h"

enum {
  TINYOPT_GROUP = 8,
  TINYOPT_MOST_SUMMED = 255 /* elements whose sum fits 16 bits */
};

/* First channel of the group that is due after `done` channels. */
static inline int32_t tinyopt_group_begin(int32_t done, int32_t channels) {
  return tinyopt_max(tinyopt_min(done, channels - TINYOPT_GROUP), 0);
}

/* Where in a group its second word begins. */
static inline int32_t tinyopt_group_second(int32_t channels) {
  return tinyopt_min(channels - 4, 4);
}

/* Channels 0 and 2, 1 and 3 of the first word, then of the second. */
typedef struct {
  uint32_t even;
  uint32_t odd;
  uint32_t second_even;
  uint32_t second_odd;
} tinyopt_group_sums;

/* Add `count` pixels, at least one, `step` bytes apart. In assembly, as compilers move the sums between registers. */
static inline void tinyopt_group_add(tinyopt_group_sums *sums, const int8_t *pixel, int32_t count, int32_t step,
                                     int32_t second) {
#if TINYOPT_HAS_DSP && defined(__OPTIMIZE__)
  uint32_t word;
  uint32_t second_word;
/* clang-format off */
#define TINYOPT_ADD_PIXEL \
  "ldr %[word], [%[pixel]]\n" \
  "ldr %[second_word], [%[pixel], %[second]]\n" \
  "add %[pixel], %[pixel], %[step]\n" \
  "sxtab16 %[even], %[even], %[word]\n" \
  "sxtab16 %[odd], %[odd], %[word], ror #8\n" \
  "sxtab16 %[second_even], %[second_even], %[second_word]\n" \
  "sxtab16 %[second_odd], %[second_odd], %[second_word], ror #8\n"
  /* clang-format on */
  __asm__("subs %[count], %[count], #2\n"
          "blo 2f\n"
          "1:\n" TINYOPT_ADD_PIXEL "subs %[count], %[count], #2\n" TINYOPT_ADD_PIXEL "bhs 1b\n"
          "2:\n"
          "adds %[count], %[count], #1\n"
          "bne 3f\n" TINYOPT_ADD_PIXEL "3:\n"
          : [pixel] "+r"(pixel), [count] "+r"(count), [even] "+r"(sums->even), [odd] "+r"(sums->odd),
            [second_even] "+r"(sums->second_even), [second_odd] "+r"(sums->second_odd), [word] "=&r"(word),
            [second_word] "=&r"(second_word)
          : [step] "r"(step), [second] "r"(second)
          : "cc", "memory");
#undef TINYOPT_ADD_PIXEL
#else
  do {
    uint32_t word = tinyopt_load_s8x4(pixel);
    uint32_t second_word = tinyopt_load_s8x4(pixel + second);
    pixel += step;
    sums->even = tinyopt_sxtab16(sums->even, word);
    sums->odd = tinyopt_sxtab16_ror8(sums->odd, word);
    sums->second_even = tinyopt_sxtab16(sums->second_even, second_word);
    sums->second_odd = tinyopt_sxtab16_ror8(sums->second_odd, second_word);
  } while (--count > 0);
#endif
}

#endif
