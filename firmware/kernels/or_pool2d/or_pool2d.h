/* Maximum of signs over windows of an image: the signs are bits, so it is an or of words.
 *
 * input  uint32 [batches][input_height][input_width][channels], packed signs (pack_signs.h); channels counts words
 * output uint32 [batches][output_height][output_width][channels]
 *
 * output = or of the inputs inside the window. This equals packing the signs of what max_pool2d_s8 gives for the same
 * windows. Input and output must not overlap.
 */
#ifndef TINYOPT_OR_POOL2D_H
#define TINYOPT_OR_POOL2D_H

#include "common.h"
#include "window.h"

typedef struct {
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t channels;
  int32_t output_height;
  int32_t output_width;
  int32_t kernel_height;
  int32_t kernel_width;
  int32_t stride_height;
  int32_t stride_width;
  int32_t pad_top;
  int32_t pad_left;
} tinyopt_or_pool2d;

/* Portable C. */
void tinyopt_or_pool2d_ref(const tinyopt_or_pool2d *op, const int32_t *input, int32_t *output);

#endif
