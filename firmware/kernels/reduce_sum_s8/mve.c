/* Sums of neighbouring int8 elements with Helium: eight at a time, in sums of 16 bits that are added to 32-bit ones
 * before they can overflow. */
#include "mve.h"
#include "reduce_sum_s8.h"

enum { GROUP = 8, CHUNK = 255 };

#if TINYOPT_HAS_MVE

typedef struct {
  int32x4_t even;
  int32x4_t odd;
} totals_t;

/* Sums of the lanes that are on. */
static inline totals_t add_up(const tinyopt_reduction *shape, const int8_t *first, mve_pred16_t lanes) {
  totals_t totals = {vdupq_n_s32(0), vdupq_n_s32(0)};
  const int32_t step = shape->reduced_step[2];
  for (int32_t i = 0; i < shape->reduced_size[0]; ++i) {
    for (int32_t j = 0; j < shape->reduced_size[1]; ++j) {
      const int8_t *value = first + i * shape->reduced_step[0] + j * shape->reduced_step[1];
      for (int32_t left = shape->reduced_size[2]; left > 0; left -= CHUNK) {
        int16x8_t sums = vdupq_n_s16(0);
        for (int32_t k = tinyopt_min(left, CHUNK); k > 0; --k, value += step) {
          sums = vaddq_s16(sums, vldrbq_z_s16(value, lanes));
        }
        totals.even = vaddq_s32(totals.even, vmovlbq_s16(sums));
        totals.odd = vaddq_s32(totals.odd, vmovltq_s16(sums));
      }
    }
  }
  return totals;
}

static inline int32x4_t outputs_of(const tinyopt_reduce_sum_s8 *op, int32x4_t totals) {
  int32x4_t sums = vsubq_n_s32(totals, op->sum_zero_point);
  int32x4_t values = tinyopt_mve_requantize_any(sums, op->multiplier, op->shift);
  return tinyopt_mve_output(values, op->output_zero_point, vdupq_n_s32(INT8_MIN), vdupq_n_s32(INT8_MAX));
}

static void outputs(const tinyopt_reduce_sum_s8 *op, const int8_t *first, int8_t *output) {
  for (int32_t left = op->shape.kept_size[2]; left > 0; left -= GROUP, first += GROUP, output += GROUP) {
    mve_pred16_t lanes = vctp16q((uint32_t)left);
    totals_t totals = add_up(&op->shape, first, lanes);
    int16x8_t values = vmovnbq_s32(vdupq_n_s16(0), outputs_of(op, totals.even));
    vstrbq_p_s16(output, vmovntq_s32(values, outputs_of(op, totals.odd)), lanes);
  }
}

#else /* the same computation in C, for tests on other machines */

static void outputs(const tinyopt_reduce_sum_s8 *op, const int8_t *first, int8_t *output) {
  const tinyopt_reduction *shape = &op->shape;
  for (int32_t c = 0; c < shape->kept_size[2]; ++c) {
    int32_t total = 0;
    for (int32_t i = 0; i < shape->reduced_size[0]; ++i) {
      for (int32_t j = 0; j < shape->reduced_size[1]; ++j) {
        const int8_t *value = first + c + i * shape->reduced_step[0] + j * shape->reduced_step[1];
        for (int32_t k = 0; k < shape->reduced_size[2]; ++k) {
          total += value[k * shape->reduced_step[2]];
        }
      }
    }
    output[c] = tinyopt_requantize_s8(total - op->sum_zero_point, op->multiplier, op->shift, op->output_zero_point,
                                      INT8_MIN, INT8_MAX);
  }
}

#endif

void tinyopt_reduce_sum_s8_mve(const tinyopt_reduce_sum_s8 *op, const int8_t *input, int8_t *output) {
  const tinyopt_reduction *shape = &op->shape;
  for (int32_t i = 0; i < shape->kept_size[0]; ++i) {
    for (int32_t j = 0; j < shape->kept_size[1]; ++j, output += shape->kept_size[2]) {
      outputs(op, input + i * shape->kept_step[0] + j * shape->kept_step[1], output);
    }
  }
}
