/* Signs of int8 values as bits.
 *
 * input  int8 [pixels][channels]
 * output uint32 [pixels][words], words = channels / 32 rounded up:
 * bit c % 32 of word c / 32 is 1 where input[c] >= zero_point, else 0; bits behind the last channel are 0.
 *
 * The output may start where the input starts, if channels is a multiple of four and the input is aligned to four.
 */
#ifndef TINYOPT_PACK_SIGNS_H
#define TINYOPT_PACK_SIGNS_H

#include "common.h"

typedef struct {
  int32_t pixels;
  int32_t channels;
  int32_t zero_point;
} tinyopt_pack_signs;

/* Portable C. */
void tinyopt_pack_signs_s8_ref(const tinyopt_pack_signs *op, const int8_t *input, int32_t *output);

/* Arm DSP extension; for 32 channels or more. */
void tinyopt_pack_signs_s8_dsp(const tinyopt_pack_signs *op, const int8_t *input, int32_t *output);

/* Helium (MVE). */
void tinyopt_pack_signs_s8_mve(const tinyopt_pack_signs *op, const int8_t *input, int32_t *output);

#endif
