/* Table lookup with Helium, sixteen elements at a time. */
#include "lut_s8.h"
#include "mve.h"

void tinyopt_lut_s8_mve(const tinyopt_lut_s8 *op, const int8_t *input, int8_t *output) {
#if TINYOPT_HAS_MVE
  __asm__ volatile("wlstp.8 lr, %[count], 2f\n"
                   "1:\n"
                   "vldrb.u8 q0, [%[input]], #16\n"
                   "vldrb.u8 q1, [%[table], q0]\n"
                   "vstrb.8 q1, [%[output]], #16\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [input] "+r"(input), [output] "+r"(output)
                   : [count] "r"(op->size), [table] "r"(op->table)
                   : "lr", "q0", "q1", "memory");
#else
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = op->table[(uint8_t)input[i]];
  }
#endif
}
