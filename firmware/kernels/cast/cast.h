/* Conversion by value between element types.
 *
 * input [size] of type `from`, output [size] of type `to`. To bool: value != 0. Integer to integer wraps; float32 to
 * integer truncates and saturates, NaN gives 0; integer to float32 rounds to nearest. Elements need no alignment.
 * Input and output must not overlap.
 */
#ifndef TINYOPT_CAST_H
#define TINYOPT_CAST_H

#include "common.h"

enum { TINYOPT_F32, TINYOPT_S8, TINYOPT_U8, TINYOPT_S16, TINYOPT_S32, TINYOPT_S64, TINYOPT_BOOL };

typedef struct {
  int32_t size;
  int32_t from; /* TINYOPT_F32 … TINYOPT_BOOL */
  int32_t to;
} tinyopt_cast;

/* Portable C. */
void tinyopt_cast_ref(const tinyopt_cast *op, const void *input, void *output);

#endif
