/* Which input elements make each output of a reduction: three axes that stay around three that are summed up.
 *
 * At plan time neighbouring axes that behave alike are merged, and unused ones have size 1.
 */
#ifndef TINYOPT_REDUCTION_H
#define TINYOPT_REDUCTION_H

#include <stdint.h>

typedef struct {
  int32_t kept_size[3]; /* outermost first */
  int32_t kept_step[3]; /* elements of the input from one to the next */
  int32_t reduced_size[3];
  int32_t reduced_step[3];
} tinyopt_reduction;

#endif
