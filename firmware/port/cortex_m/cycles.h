/* The cycle counter of Cortex-M cores from Armv7-M on (Arm Architecture Reference Manuals, Data Watchpoint and Trace).
 */
#ifndef TINYOPT_PORT_CYCLES_H
#define TINYOPT_PORT_CYCLES_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__) || defined(__ARM_ARCH_8M_MAIN__) ||                          \
    defined(__ARM_ARCH_8_1M_MAIN__)

#define CYCLES_DEMCR (*(volatile uint32_t *)0xE000EDFCu)
#define CYCLES_CTRL (*(volatile uint32_t *)0xE0001000u)
#define CYCLES_COUNT (*(volatile uint32_t *)0xE0001004u)
#define CYCLES_LOCK (*(volatile uint32_t *)0xE0001FB0u)

static inline uint32_t cycles_now(void) {
  return CYCLES_COUNT;
}

/* Starts the counter; false where the core was made without one. */
static inline bool cycles_start(void) {
  CYCLES_DEMCR |= 1u << 24;
  CYCLES_LOCK = 0xC5ACCE55u; /* Cortex-M7 ignores writes without it */
  CYCLES_CTRL |= 1u;
  uint32_t start = cycles_now();
  __asm__ volatile("nop\n\tnop\n\tnop\n\tnop");
  return cycles_now() != start;
}

#else

static inline uint32_t cycles_now(void) {
  return 0;
}

static inline bool cycles_start(void) {
  return false;
}

#endif

#endif
