/* Which taps of a sliding window lie inside the input, along one axis. */
#ifndef TINYOPT_WINDOW_H
#define TINYOPT_WINDOW_H

#include <stdint.h>

/* The taps k with first <= k < end read inside the input. */
typedef struct {
  int32_t first;
  int32_t end;
} tinyopt_taps;

/* A window of `kernel` taps, `dilation` apart, whose tap 0 reads position `origin` of an input of `size` elements.
 * Counts instead of dividing: kernels are small and small cores have no divider. */
static inline tinyopt_taps tinyopt_taps_inside(int32_t origin, int32_t kernel, int32_t dilation, int32_t size) {
  tinyopt_taps taps = {0, kernel};
  while (taps.first < kernel && origin + taps.first * dilation < 0) {
    ++taps.first;
  }
  while (taps.end > taps.first && origin + (taps.end - 1) * dilation >= size) {
    --taps.end;
  }
  return taps;
}

/* The same for taps that are neighbours. */
static inline tinyopt_taps tinyopt_window_inside(int32_t origin, int32_t kernel, int32_t size) {
  int32_t first = origin < 0 ? -origin : 0;
  int32_t end = size - origin < kernel ? size - origin : kernel;
  return (tinyopt_taps){first, end > first ? end : first};
}

/* The element of the input that a tap of a transposed convolution takes its product from, or -1 where there is none.
 * `distance`: the output position minus the tap's offset. */
static inline int32_t tinyopt_input_of_tap(int32_t distance, int32_t stride, int32_t size) {
  if (distance < 0 || distance % stride != 0 || distance / stride >= size) {
    return -1;
  }
  return distance / stride;
}

#endif
