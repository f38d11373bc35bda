/* Fully connected layer, int8 activations, weights stored as codes of 1, 2 or 4 bits.
 *
 * input  int8 [rows][input_size], output int8 [rows][output_size]; the sums, their requantization and so the result are
 * those of fully_connected_s8.h, bit for bit. Input and output must not overlap.
 */
#ifndef TINYOPT_PACKED_FULLY_CONNECTED_S8_H
#define TINYOPT_PACKED_FULLY_CONNECTED_S8_H

#include "fully_connected_s8.h"
#include "unpack.h"

typedef struct {
  tinyopt_packed packed;
  tinyopt_fully_connected_s8 dense; /* its weights are not read */
  int32_t block;                    /* outputs of a block of packed weights */
  int32_t blocks;                   /* of packed weights that are expanded at a time */
} tinyopt_packed_fully_connected_s8;

/* These expand the weights of a few outputs into scratch memory and then are the kernel of fully_connected_s8 after
 * which they are named. scratch: `blocks` blocks as that kernel reads them. */
void tinyopt_packed_fully_connected_s8_ref(const tinyopt_packed_fully_connected_s8 *op, const int8_t *input,
                                           int8_t *output, void *scratch);
void tinyopt_packed_fully_connected_s8_quads(const tinyopt_packed_fully_connected_s8 *op, const int8_t *input,
                                             int8_t *output, void *scratch);
void tinyopt_packed_fully_connected_s8_dsp(const tinyopt_packed_fully_connected_s8 *op, const int8_t *input,
                                           int8_t *output, void *scratch);
void tinyopt_packed_fully_connected_s8_dsp_8(const tinyopt_packed_fully_connected_s8 *op, const int8_t *input,
                                             int8_t *output, void *scratch);
void tinyopt_packed_fully_connected_s8_mve(const tinyopt_packed_fully_connected_s8 *op, const int8_t *input,
                                           int8_t *output, void *scratch);

typedef void tinyopt_fully_connected_s8_kernel(const tinyopt_fully_connected_s8 *op, const int8_t *input,
                                               int8_t *output);

/* A few outputs after the other by a kernel for dense weights. */
static TINYOPT_ALWAYS_INLINE void tinyopt_packed_fully_connected_s8_by(const tinyopt_packed_fully_connected_s8 *op,
                                                                       const int8_t *input, int8_t *output,
                                                                       int8_t *scratch,
                                                                       tinyopt_fully_connected_s8_kernel *kernel) {
  tinyopt_fully_connected_s8 dense = op->dense;
  tinyopt_packed_at at = tinyopt_packed_begin(&op->packed);
  int32_t blocks = op->packed.blocks;
  dense.weights = scratch;
  dense.rows = 1;
  for (int32_t left = op->dense.output_size; left > 0; left -= dense.output_size) {
    int32_t count = tinyopt_min(op->blocks, blocks);
    tinyopt_unpack(&op->packed, &at, count, scratch);
    blocks -= count;
    dense.output_size = tinyopt_min(count * op->block, left);
    for (int32_t row = 0; row < op->dense.rows; ++row) {
      kernel(&dense, input + row * dense.input_size, output + row * op->dense.output_size);
    }
    output += dense.output_size;
    if (dense.bias) { /* else they are among the packed weights */
      dense.bias += dense.output_size;
      dense.multipliers += dense.per_channel * dense.output_size;
      dense.shifts += dense.per_channel * dense.output_size;
    }
  }
}

#endif
