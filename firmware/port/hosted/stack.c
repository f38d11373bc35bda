/* Stack painting below the caller, down to where the framework says that its stack ends. Interrupts that use the same
 * stack are part of what is seen. */
#include "stack.h"

#include "port.h"

#define PAINT 0xA5C3E187u

/* Room for this function's own frame, and for what a framework keeps at the stack's end. */
enum { MARGIN = 64 };

static volatile uint32_t *lowest_painted(uintptr_t top) {
  uintptr_t lowest = (port_stack_lowest() + MARGIN + 3u) & ~(uintptr_t)3;
  return (volatile uint32_t *)(top - lowest > PORT_STACK_PAINTED ? top - PORT_STACK_PAINTED : lowest);
}

static uintptr_t below_here(void) {
  return ((uintptr_t)__builtin_frame_address(0) - MARGIN) & ~(uintptr_t)3;
}

__attribute__((noinline)) void port_stack_paint(void) {
  if (!port_stack_lowest()) {
    return;
  }
  uintptr_t top = below_here();
  for (volatile uint32_t *word = lowest_painted(top); (uintptr_t)word < top; ++word) {
    *word = PAINT;
  }
}

__attribute__((noinline)) uint32_t port_stack_used(void) {
  if (!port_stack_lowest()) {
    return PORT_STACK_UNKNOWN;
  }
  uintptr_t top = below_here();
  volatile uint32_t *word = lowest_painted(top);
  while ((uintptr_t)word < top && *word == PAINT) {
    ++word;
  }
  return (uint32_t)(top + MARGIN - (uintptr_t)word);
}
