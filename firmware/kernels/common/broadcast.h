/* Walks two inputs of different shapes as numpy broadcasts them, row by row in the order of the output.
 *
 * At plan time neighbouring axes that behave alike are merged, so that equal shapes, a scalar operand and a single
 * channel vector over contiguous pixels cost no more than one or two loops.
 */
#ifndef TINYOPT_BROADCAST_H
#define TINYOPT_BROADCAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TINYOPT_BROADCAST_AXES 5

typedef struct {
  int32_t columns; /* elements of a row */
  int32_t a_step;  /* 1, or 0 where the row of this input is a single value */
  int32_t b_step;
  int32_t axes;         /* number of outer axes, at most TINYOPT_BROADCAST_AXES; 0 when one row is everything */
  const int32_t *outer; /* [axes][3]: size, a_step, b_step of each, outermost first; NULL when there are none */
} tinyopt_broadcast;

/* The current row: where it begins in either input. Starts as zeros. */
typedef struct {
  int32_t a;
  int32_t b;
  int32_t index[TINYOPT_BROADCAST_AXES];
} tinyopt_broadcast_row;

/* Move to the next row; false after the last one. */
static inline bool tinyopt_broadcast_next(const tinyopt_broadcast *shape, tinyopt_broadcast_row *row) {
  for (int32_t axis = shape->axes - 1; axis >= 0; --axis) {
    const int32_t *outer = shape->outer + 3 * axis;
    row->a += outer[1];
    row->b += outer[2];
    if (++row->index[axis] < outer[0]) {
      return true;
    }
    row->index[axis] = 0;
    row->a -= outer[0] * outer[1];
    row->b -= outer[0] * outer[2];
  }
  return false;
}

#endif
