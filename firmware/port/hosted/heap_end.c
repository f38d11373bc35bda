/* The stack of programs that have one, between the heap and the end of RAM, as newlib's linker scripts lay it out. */
#include <stddef.h>

#include "stack.h"

/* newlib's own name for growing the heap; by nothing: where it ends */
void *_sbrk(ptrdiff_t bytes);

uintptr_t port_stack_lowest(void) {
  return (uintptr_t)_sbrk(0);
}
