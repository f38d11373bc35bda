#include "narrow.h"

#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)

/* The compiler would fetch the bytes of the multiplier from memory for every output; here they are in high registers.
 *
 * Registers: r0 shift, r1 sums, r2 output, r3 step, r4 sum, r5 low, r6 value, r7 product, r8 to r11 bytes of the
 * multiplier from below, r12 offset, lr range. Frame: 0 end of the sums. */
/* clang-format off */
#define BYTE(byte) \
  "mov r7, " byte "\n" \
  "muls r7, r4, r7\n"
#define NEXT_BYTE(byte) \
  "asrs r6, r6, #8\n" \
  BYTE(byte) \
  "adds r6, r6, r7\n"

#define UNUSED __attribute__((unused))

__attribute__((naked)) void tinyopt_narrow_line(const tinyopt_narrow *scale UNUSED, const int32_t *sums UNUSED,
                                                int8_t *output UNUSED, int32_t step UNUSED, int32_t count UNUSED) {
  __asm__ volatile(
      ".syntax unified\n"
      "push {r4-r7, lr}\n"
      "mov r4, r8\n"
      "mov r5, r9\n"
      "mov r6, r10\n"
      "mov r7, r11\n"
      "push {r4-r7}\n"
      "ldr r7, [sp, #36]\n"
      "lsls r7, r7, #2\n"
      "adds r7, r7, r1\n"
      "push {r7}\n"
      "ldmia r0!, {r4-r7}\n"
      "mov r12, r6\n"
      "ldr r6, [r0]\n"
      "mov lr, r6\n"
      "movs r0, r5\n"
      "movs r5, r7\n"
      "uxtb r6, r4\n"
      "mov r8, r6\n"
      "lsrs r4, r4, #8\n"
      "uxtb r6, r4\n"
      "mov r9, r6\n"
      "lsrs r4, r4, #8\n"
      "uxtb r6, r4\n"
      "mov r10, r6\n"
      "lsrs r4, r4, #8\n"
      "mov r11, r4\n"
      "1:\n"
      "ldmia r1!, {r4}\n"
      "mov r6, r8\n"
      "muls r6, r4, r6\n"
      NEXT_BYTE("r9")
      NEXT_BYTE("r10")
      NEXT_BYTE("r11")
      "adds r6, r6, #64\n"
      "asrs r6, r6, #7\n"
      "asrs r7, r6, #31\n"
      "adds r6, r6, r7\n"
      "asrs r6, r6, r0\n"
      "add r6, r6, r12\n"
      "asrs r6, r6, #1\n"
      "cmp r6, lr\n"
      "bhi 3f\n"
      "2:\n"
      "adds r6, r6, r5\n"
      "strb r6, [r2]\n"
      "ldr r7, [sp]\n"
      "adds r2, r2, r3\n"
      "cmp r1, r7\n"
      "bne 1b\n"
      "pop {r3-r7}\n"
      "mov r8, r4\n"
      "mov r9, r5\n"
      "mov r10, r6\n"
      "mov r11, r7\n"
      "pop {r4-r7, pc}\n"
      "3:\n" /* below: 0, above: the range */
      "asrs r6, r6, #31\n"
      "mvns r6, r6\n"
      "mov r7, lr\n"
      "ands r6, r6, r7\n"
      "b 2b\n");
}
/* clang-format on */

#else

void tinyopt_narrow_line(const tinyopt_narrow *scale, const int32_t *sums, int8_t *output, int32_t step,
                         int32_t count) {
  tinyopt_narrow kept = *scale;
  for (int32_t i = 0; i < count; ++i, output += step) {
    *output = tinyopt_narrow_s8(&kept, sums[i]);
  }
}

#endif
