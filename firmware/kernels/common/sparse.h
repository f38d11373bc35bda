/* Rows of weights of which most are zero: how they are stored, and how they are walked.
 *
 * A row is the weights of one output over `taps` inputs, in the order of the inputs. Only its weights that are not zero
 * are stored, in the order of consumption, with what says where they belong. All rows lie one behind the other in a
 * stream of bytes without alignment. Six formats:
 *
 * gaps8   Runs of pairs of weights. A run is a byte (pairs in bits 0 to 6, at most 31; bit 7: another run follows), and
 *         per pair: gap, gap, weight, weight. A gap is how many inputs further on the weight belongs than the one
 *         before it (the first: than input 0), 0 to 255. Where gaps are wider, and where a row has an odd number of
 *         weights, there are weights of zero.
 * gaps4   The same with both gaps in one byte, the first in bits 0 to 3: gaps, weight, weight.
 * 1x4     Blocks of four inputs of one output; taps is a multiple of four. Runs of at most 15 blocks: a byte as above,
 *         and per block: gap in blocks, 0 to 255; four weights.
 * 4x1     Blocks of one input of four outputs; a row is that of four outputs, those that are missing at the end are
 *         zero. Runs of at most 62 blocks: a byte as above, and per block: gap in inputs, four weights.
 * 1of4    At most one weight in every group of four inputs; taps is a multiple of four. Per four groups: a byte of four
 *         positions in the group (two bits each, the first lowest), four weights. At the end, positions and as many
 *         weights as there are groups left.
 * 2of4    At most two weights in every group of four inputs: per two groups a byte of four positions, four weights.
 *
 * An output without any weights has a run of no pairs or blocks; for 1of4 and 2of4, zeros.
 *
 * The activations of an input, a column, are `tap` bytes: one activation, or those of several pixels. What is done with
 * a column and a weight is the caller's part: `add` is called for every weight, `flush` after at most 62 of them
 * (`more`) and at the end of the row. They are known where a walk is inlined, so nothing is called in fact.
 *
 * A format that a walk reads wrongly would index outside the columns: the stream is made by the planner and is not
 * checked here. */
#ifndef TINYOPT_SPARSE_H
#define TINYOPT_SPARSE_H

#include "common.h"

typedef void tinyopt_sparse_add(void *sums, const int8_t *column, int32_t weight);
typedef void tinyopt_sparse_flush(void *sums, bool more);

/* What a walk works on. */
typedef struct {
  const int8_t *columns;
  int32_t taps;
  int32_t tap; /* bytes of a column */
  tinyopt_sparse_add *add;
  tinyopt_sparse_flush *flush;
  void *sums;
} tinyopt_sparse_walk;

/* Walk one row; returns where the next one begins. */
typedef const int8_t *tinyopt_sparse_row(const tinyopt_sparse_walk *walk, const int8_t *stream);

static TINYOPT_ALWAYS_INLINE const int8_t *tinyopt_sparse_row_gaps8(const tinyopt_sparse_walk *walk,
                                                                    const int8_t *stream) {
  const int8_t *column = walk->columns;
  uint32_t head;
  do {
    head = (uint8_t)*stream++;
    for (uint32_t left = head & 127u; left > 0; --left, stream += 4) {
      column += (uint8_t)stream[0] * walk->tap;
      walk->add(walk->sums, column, stream[2]);
      column += (uint8_t)stream[1] * walk->tap;
      walk->add(walk->sums, column, stream[3]);
    }
    walk->flush(walk->sums, (head & 128u) != 0);
  } while (head & 128u);
  return stream;
}

static TINYOPT_ALWAYS_INLINE const int8_t *tinyopt_sparse_row_gaps4(const tinyopt_sparse_walk *walk,
                                                                    const int8_t *stream) {
  const int8_t *column = walk->columns;
  uint32_t head;
  do {
    head = (uint8_t)*stream++;
    for (uint32_t left = head & 127u; left > 0; --left, stream += 3) {
      uint32_t gaps = (uint8_t)stream[0];
      column += (int32_t)(gaps & 15u) * walk->tap;
      walk->add(walk->sums, column, stream[1]);
      column += (int32_t)(gaps >> 4) * walk->tap;
      walk->add(walk->sums, column, stream[2]);
    }
    walk->flush(walk->sums, (head & 128u) != 0);
  } while (head & 128u);
  return stream;
}

static TINYOPT_ALWAYS_INLINE const int8_t *tinyopt_sparse_row_1x4(const tinyopt_sparse_walk *walk,
                                                                  const int8_t *stream) {
  const int8_t *column = walk->columns;
  uint32_t head;
  do {
    head = (uint8_t)*stream++;
    for (uint32_t left = head & 127u; left > 0; --left, stream += 5) {
      column += (uint8_t)stream[0] * 4 * walk->tap;
      walk->add(walk->sums, column, stream[1]);
      walk->add(walk->sums, column + walk->tap, stream[2]);
      walk->add(walk->sums, column + 2 * walk->tap, stream[3]);
      walk->add(walk->sums, column + 3 * walk->tap, stream[4]);
    }
    walk->flush(walk->sums, (head & 128u) != 0);
  } while (head & 128u);
  return stream;
}

/* One of the four outputs of a row of 4x1 blocks, `lane`. Returns where the next row of blocks begins. */
static TINYOPT_ALWAYS_INLINE const int8_t *tinyopt_sparse_lane_4x1(const tinyopt_sparse_walk *walk,
                                                                   const int8_t *stream, int32_t lane) {
  const int8_t *column = walk->columns;
  uint32_t head;
  do {
    head = (uint8_t)*stream++;
    for (uint32_t left = head & 127u; left > 0; --left, stream += 5) {
      column += (uint8_t)stream[0] * walk->tap;
      walk->add(walk->sums, column, stream[1 + lane]);
    }
    walk->flush(walk->sums, (head & 128u) != 0);
  } while (head & 128u);
  return stream;
}

/* `count` is 1 or 2, the weights of a group. */
static TINYOPT_ALWAYS_INLINE const int8_t *tinyopt_sparse_row_of_4(const tinyopt_sparse_walk *walk,
                                                                   const int8_t *stream, int32_t count) {
  const int8_t *column = walk->columns;
  int32_t group = 4 * walk->tap;
  int32_t apart = count == 1 ? group : 0; /* from a weight to the next: another group, or the same */
  int32_t run = 15;
  int32_t left = walk->taps / 4 * count; /* weights */
  for (; left >= 4; left -= 4, stream += 5, column += group) {
    uint32_t at = (uint8_t)stream[0];
    walk->add(walk->sums, column + (int32_t)(at & 3u) * walk->tap, stream[1]);
    column += apart;
    walk->add(walk->sums, column + (int32_t)(at >> 2 & 3u) * walk->tap, stream[2]);
    column += group;
    walk->add(walk->sums, column + (int32_t)(at >> 4 & 3u) * walk->tap, stream[3]);
    column += apart;
    walk->add(walk->sums, column + (int32_t)(at >> 6) * walk->tap, stream[4]);
    if (--run == 0) {
      walk->flush(walk->sums, true);
      run = 15;
    }
  }
  if (left > 0) {
    uint32_t at = (uint8_t)*stream++;
    for (; left > 0; --left, at >>= 2, column += apart) { /* of 2of4, there is one group left */
      walk->add(walk->sums, column + (int32_t)(at & 3u) * walk->tap, *stream++);
    }
  }
  walk->flush(walk->sums, false);
  return stream;
}

static TINYOPT_ALWAYS_INLINE const int8_t *tinyopt_sparse_row_1of4(const tinyopt_sparse_walk *walk,
                                                                   const int8_t *stream) {
  return tinyopt_sparse_row_of_4(walk, stream, 1);
}

static TINYOPT_ALWAYS_INLINE const int8_t *tinyopt_sparse_row_2of4(const tinyopt_sparse_walk *walk,
                                                                   const int8_t *stream) {
  return tinyopt_sparse_row_of_4(walk, stream, 2);
}

#endif
