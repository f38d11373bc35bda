#include "lut_s8.h"

void tinyopt_lut_s8_ref(const tinyopt_lut_s8 *op, const int8_t *input, int8_t *output) {
  const int8_t *table = op->table; /* kept here: the compiler must assume that a written byte may change *op */
  int32_t left = op->size;
  /* Four at a time: fewer branches, and loads that follow each other, which is faster on some cores. */
  for (; left > 3; left -= 4, input += 4, output += 4) {
    int8_t first = table[(uint8_t)input[0]];
    int8_t second = table[(uint8_t)input[1]];
    int8_t third = table[(uint8_t)input[2]];
    int8_t fourth = table[(uint8_t)input[3]];
    output[0] = first;
    output[1] = second;
    output[2] = third;
    output[3] = fourth;
  }
  for (; left > 0; --left) {
    *output++ = table[(uint8_t)*input++];
  }
}
