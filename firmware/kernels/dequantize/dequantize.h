/* Quantized integers to float32.
 *
 * input int8, uint8, int16 or int32 [size], output float32 [size]; output = scale * (input - zero_point), one float32
 * multiplication. This equals TensorFlow Lite Micro's DEQUANTIZE bit for bit (int8, uint8, int16). Pointers to 8-bit
 * elements need no alignment. Input and output must not overlap, but for int32.
 */
#ifndef TINYOPT_DEQUANTIZE_H
#define TINYOPT_DEQUANTIZE_H

#include "common.h"

typedef struct {
  int32_t size;
  float scale;
  int32_t zero_point;
} tinyopt_dequantize;

/* Portable C, one function for each input type. */
void tinyopt_dequantize_s8_ref(const tinyopt_dequantize *op, const int8_t *input, float *output);
void tinyopt_dequantize_u8_ref(const tinyopt_dequantize *op, const uint8_t *input, float *output);
void tinyopt_dequantize_s16_ref(const tinyopt_dequantize *op, const int16_t *input, float *output);
void tinyopt_dequantize_s32_ref(const tinyopt_dequantize *op, const int32_t *input, float *output);

#endif
