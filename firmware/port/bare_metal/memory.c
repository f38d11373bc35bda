/* Memory of a bare-metal program: initialisation, and the stack's high-water mark. */
#include "memory.h"
#include "port.h"

#define PAINT 0xA5C3E187u

int main(void);

void port_enter_main(void) {
  /* volatile: the compiler must not turn these loops into calls of a C library that may rely on .data */
  volatile uint32_t *to = port_data_start;
  for (const uint32_t *from = port_data_load; to < port_data_end; ++from, ++to) {
    *to = *from;
  }
  for (to = port_bss_start; to < port_bss_end; ++to) {
    *to = 0;
  }
  (void)main();
  for (;;) {
    __asm__ volatile("wfi"); /* an emulator does not spin */
  }
}

static uintptr_t stack_pointer(void) {
  uintptr_t value;
#if defined(__riscv)
  __asm__ volatile("mv %0, sp" : "=r"(value));
#else
  __asm__ volatile("mov %0, sp" : "=r"(value));
#endif
  return value;
}

static volatile uint32_t *lowest_painted(uintptr_t top) {
  uintptr_t limit = (uintptr_t)port_stack_limit;
  return (volatile uint32_t *)(top - limit > PORT_STACK_PAINTED ? top - PORT_STACK_PAINTED : limit);
}

/* Both functions are leaves that keep everything in registers, so that their callers' stack pointer is, but for a
 * saved register or two, the one they read. */
__attribute__((noinline)) void port_stack_paint(void) {
  uintptr_t top = stack_pointer() & ~(uintptr_t)3;
  for (volatile uint32_t *word = lowest_painted(top); (uintptr_t)word < top; ++word) {
    *word = PAINT;
  }
}

__attribute__((noinline)) uint32_t port_stack_used(void) {
  uintptr_t top = stack_pointer() & ~(uintptr_t)3;
  volatile uint32_t *word = lowest_painted(top);
  while ((uintptr_t)word < top && *word == PAINT) {
    ++word;
  }
  return (uint32_t)(top - (uintptr_t)word);
}

#if !defined(__riscv)
/* newlib keeps errno in a structure with the state of stdio, a kilobyte of RAM that the math functions would pull in.
 */
int *__errno(void);
int *__errno(void) {
  static int value;
  return &value;
}
#endif
