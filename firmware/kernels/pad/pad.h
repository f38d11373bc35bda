/* Pads a tensor.
 *
 * The planner merges trailing axes without padding into a unit of `unit` bytes, and adjacent axes where that changes
 * nothing. Input: [size[0]] … [size[rank-1]][unit bytes]; axis i of the output is before[i] + size[i] + after[i] long.
 * Any element type; pointers need no alignment. No scratch, not in place. Exact.
 *
 * tinyopt_pad_constant_ref writes `value` into the border. tinyopt_pad_mirror_ref reads the input there: the nearest
 * edge (`edge`), or the position mirrored at the edge element, which needs before and after < size.
 */
#ifndef TINYOPT_PAD_H
#define TINYOPT_PAD_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TINYOPT_PAD_AXES 6

typedef struct {
  int32_t unit; /* bytes that move together */
  int32_t rank; /* axes in use, 1 to 6 */
  int32_t before[TINYOPT_PAD_AXES];
  int32_t size[TINYOPT_PAD_AXES];
  int32_t after[TINYOPT_PAD_AXES];
  int32_t element;  /* bytes of `value` that repeat: 1, 2, 4 or 8 */
  uint8_t value[8]; /* the border's element, as it lies in memory */
  bool edge;
} tinyopt_pad;

void tinyopt_pad_constant_ref(const tinyopt_pad *op, const void *in, void *out);
void tinyopt_pad_mirror_ref(const tinyopt_pad *op, const void *in, void *out);

#ifdef __cplusplus
}
#endif

#endif
