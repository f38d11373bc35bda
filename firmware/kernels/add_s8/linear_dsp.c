/* The linear form of a sum with the Arm DSP extension, for outputs that are not clamped: USAT brings them into range.
 */
#include "add_s8.h"
#include "dsp.h"

typedef struct {
  int32_t a_factor;
  int32_t b_factor;
  int32_t offset;
  int32_t right;
} form_t;

static inline int8_t sum_of(const form_t *form, int32_t a, int32_t b) {
  int32_t value = (a * form->a_factor + (b * form->b_factor + form->offset)) >> form->right;
#if TINYOPT_HAS_DSP
  __asm__("ssat %0, #8, %1" : "=r"(value) : "r"(value));
  return (int8_t)value;
#else
  return (int8_t)tinyopt_clamp(value, INT8_MIN, INT8_MAX);
#endif
}

/* Two neighbours; their loads follow each other, which is faster. */
static inline void add_2(const form_t *form, const int8_t *a, const int8_t *b, int8_t *output) {
  int32_t a_first = a[0];
  int32_t a_second = a[1];
  int32_t b_first = b[0];
  int32_t b_second = b[1];
  output[0] = sum_of(form, a_first, b_first);
  output[1] = sum_of(form, a_second, b_second);
}

void tinyopt_add_s8_linear_dsp(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  int32_t right = op->output_shift;
  /* The form counts from -128. */
  const form_t form = {op->a_factor, op->b_multiplier, op->a_offset - 128 * (1 << right), right};
  int32_t left = op->broadcast.columns;
  for (; left > 3; left -= 4, a += 4, b += 4, output += 4) {
    add_2(&form, a, b, output);
    add_2(&form, a + 2, b + 2, output + 2);
  }
  for (; left > 0; --left) {
    *output++ = sum_of(&form, *a++, *b++);
  }
}
