/* The instructions of the Arm DSP extension (Armv7E-M, Armv8-M with DSP) that the kernels use, under their own names.
 *
 * On a core without the extension the same functions are plain C with the same result on every input, so that the
 * kernels can be built, checked and debugged anywhere. A "pair" is a 32-bit word that holds two int16 values, the
 * first in the low half; sums wrap modulo 2^32. Words are loaded in little-endian order, without alignment.
 */
#ifndef TINYOPT_DSP_H
#define TINYOPT_DSP_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#define TINYOPT_HAS_DSP 1
#else
#define TINYOPT_HAS_DSP 0
#endif

/* Four int8 values. */
static inline uint32_t tinyopt_load_s8x4(const int8_t *from) {
  uint32_t word;
  memcpy(&word, from, sizeof word);
  return word;
}

/* The last `count` < 4 values of a row, with zeros behind them. */
static inline uint32_t tinyopt_load_s8_tail(const int8_t *from, int32_t count) {
  uint32_t word = 0;
  for (int32_t i = 0; i < count; ++i) {
    word |= (uint32_t)(uint8_t)from[i] << (8 * i);
  }
  return word;
}

/* Two int16 values. */
static inline uint32_t tinyopt_load_s16x2(const int16_t *from) {
  uint32_t word;
  memcpy(&word, from, sizeof word);
  return word;
}

/* The pair (low, high). */
static inline uint32_t tinyopt_pair(int32_t low, int32_t high) {
  return ((uint32_t)low & 0xFFFFu) | ((uint32_t)high << 16);
}

static inline int32_t tinyopt_low_half(uint32_t pair) {
  return (int16_t)(uint16_t)(pair & 0xFFFFu);
}

static inline int32_t tinyopt_high_half(uint32_t pair) {
  return (int16_t)(uint16_t)(pair >> 16);
}

/* SXTB16: bytes 0 and 2, sign-extended, as a pair. */
static inline uint32_t tinyopt_sxtb16(uint32_t word) {
#if TINYOPT_HAS_DSP
  return (uint32_t)__sxtb16((int8x4_t)word);
#else
  return tinyopt_pair((int8_t)(uint8_t)word, (int8_t)(uint8_t)(word >> 16));
#endif
}

/* SXTB16 with rotation: bytes 1 and 3. */
static inline uint32_t tinyopt_sxtb16_ror8(uint32_t word) {
#if TINYOPT_HAS_DSP
  uint32_t pair;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
#else
  return tinyopt_sxtb16(word >> 8);
#endif
}

/* SXTAB16: bytes 0 and 2, sign-extended, added to a pair, each half modulo 2^16. */
static inline uint32_t tinyopt_sxtab16(uint32_t pair, uint32_t word) {
#if TINYOPT_HAS_DSP
  return (uint32_t)__sxtab16((int16x2_t)pair, (int8x4_t)word);
#else
  uint32_t wide = tinyopt_sxtb16(word);
  return tinyopt_pair(tinyopt_low_half(pair) + tinyopt_low_half(wide),
                      tinyopt_high_half(pair) + tinyopt_high_half(wide));
#endif
}

/* SXTAB16 with rotation: bytes 1 and 3. */
static inline uint32_t tinyopt_sxtab16_ror8(uint32_t pair, uint32_t word) {
#if TINYOPT_HAS_DSP
  uint32_t result;
  __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(pair), "r"(word));
  return result;
#else
  return tinyopt_sxtab16(pair, word >> 8);
#endif
}

/* PKHBT: the low halves of a and of b. */
static inline uint32_t tinyopt_pack_low(uint32_t a, uint32_t b) {
#if TINYOPT_HAS_DSP
  uint32_t pair;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
  return pair;
#else
  return (a & 0xFFFFu) | (b << 16);
#endif
}

/* PKHTB: the high halves of a and of b. */
static inline uint32_t tinyopt_pack_high(uint32_t a, uint32_t b) {
#if TINYOPT_HAS_DSP
  uint32_t pair;
  __asm__("pkhtb %0, %2, %1, asr #16" : "=r"(pair) : "r"(a), "r"(b));
  return pair;
#else
  return (a >> 16) | (b & 0xFFFF0000u);
#endif
}

#if !TINYOPT_HAS_DSP
/* The larger or the smaller of each two int8 values. */
static inline uint32_t tinyopt_extreme_s8x4(uint32_t a, uint32_t b, bool larger) {
  uint32_t result = 0;
  for (int lane = 0; lane < 32; lane += 8) {
    bool first = ((int8_t)(uint8_t)(a >> lane) >= (int8_t)(uint8_t)(b >> lane)) == larger;
    result |= ((first ? a : b) >> lane & 255u) << lane;
  }
  return result;
}
#endif

/* SSUB8 and SEL: the larger of each two int8 values. */
static inline uint32_t tinyopt_max_s8x4(uint32_t a, uint32_t b) {
#if TINYOPT_HAS_DSP
  uint32_t result;
  __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(result) : "r"(a), "r"(b));
  return result;
#else
  return tinyopt_extreme_s8x4(a, b, true);
#endif
}

/* SSUB8 and SEL: the smaller of each two int8 values. */
static inline uint32_t tinyopt_min_s8x4(uint32_t a, uint32_t b) {
#if TINYOPT_HAS_DSP
  uint32_t result;
  __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(result) : "r"(a), "r"(b));
  return result;
#else
  return tinyopt_extreme_s8x4(a, b, false);
#endif
}

/* SMLAD: sum + low(a) * low(b) + high(a) * high(b). */
static inline int32_t tinyopt_smlad(uint32_t a, uint32_t b, int32_t sum) {
#if TINYOPT_HAS_DSP
  return __smlad((int16x2_t)a, (int16x2_t)b, sum);
#else
  uint32_t low = (uint32_t)(tinyopt_low_half(a) * tinyopt_low_half(b));
  uint32_t high = (uint32_t)(tinyopt_high_half(a) * tinyopt_high_half(b));
  return (int32_t)((uint32_t)sum + low + high);
#endif
}

/* SMLABB: sum + low(a) * low(b). */
static inline int32_t tinyopt_smlabb(uint32_t a, uint32_t b, int32_t sum) {
#if TINYOPT_HAS_DSP
  return __smlabb((int32_t)a, (int32_t)b, sum);
#else
  return (int32_t)((uint32_t)sum + (uint32_t)(tinyopt_low_half(a) * tinyopt_low_half(b)));
#endif
}

/* SMLATT: sum + high(a) * high(b). */
static inline int32_t tinyopt_smlatt(uint32_t a, uint32_t b, int32_t sum) {
#if TINYOPT_HAS_DSP
  return __smlatt((int32_t)a, (int32_t)b, sum);
#else
  return (int32_t)((uint32_t)sum + (uint32_t)(tinyopt_high_half(a) * tinyopt_high_half(b)));
#endif
}

/* SMLATB: sum + high(a) * low(b). */
static inline int32_t tinyopt_smlatb(uint32_t a, uint32_t b, int32_t sum) {
#if TINYOPT_HAS_DSP
  return __smlatb((int32_t)a, (int32_t)b, sum);
#else
  return (int32_t)((uint32_t)sum + (uint32_t)(tinyopt_high_half(a) * tinyopt_low_half(b)));
#endif
}

/* SMLAWB: sum + (a * low(b) >> 16). */
static inline int32_t tinyopt_smlawb(int32_t a, uint32_t b, int32_t sum) {
#if TINYOPT_HAS_DSP
  return __smlawb(a, (int32_t)b, sum);
#else
  return sum + (int32_t)(((int64_t)a * tinyopt_low_half(b)) >> 16);
#endif
}

/* SMLAWT: sum + (a * high(b) >> 16). */
static inline int32_t tinyopt_smlawt(int32_t a, uint32_t b, int32_t sum) {
#if TINYOPT_HAS_DSP
  return __smlawt(a, (int32_t)b, sum);
#else
  return sum + (int32_t)(((int64_t)a * tinyopt_high_half(b)) >> 16);
#endif
}

/* SMMULR: the upper half of a * b, rounded to nearest, ties up. */
static inline int32_t tinyopt_smmulr(int32_t a, int32_t b) {
#if TINYOPT_HAS_DSP
  int32_t result;
  __asm__("smmulr %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
  return result;
#else
  return (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32);
#endif
}

/* SSAT: value / 2 (rounded down), saturated to int8. */
static inline int32_t tinyopt_saturate_half_s8(int32_t value) {
#if TINYOPT_HAS_DSP
  int32_t result;
  __asm__("ssat %0, #8, %1, asr #1" : "=r"(result) : "r"(value));
  return result;
#else
  value >>= 1;
  return value < -128 ? -128 : (value > 127 ? 127 : value);
#endif
}

/* Requantize a sum, given doubled: SMMULR is then the rounding doubling high multiply; adding the sign, shifting by one
 * less (`right`: the shift to the right, minus 1), adding 2 * zero point + 1 (`offset`) and halving is the rounding
 * shift with ties away from zero. */
static inline int8_t tinyopt_requantize_doubled_s8(int32_t doubled, int32_t multiplier, int32_t right, int32_t offset) {
  int32_t value = tinyopt_smmulr(doubled, multiplier);
  return (int8_t)tinyopt_saturate_half_s8(((value + (value >> 31)) >> right) + offset);
}

#endif
