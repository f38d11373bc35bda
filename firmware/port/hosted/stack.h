/* Stack depth under a framework that owns startup and memory. */
#ifndef TINYOPT_PORT_STACK_H
#define TINYOPT_PORT_STACK_H

#include <stdint.h>

/* Lowest address that belongs to the stack of the caller; 0 where the framework cannot tell. */
uintptr_t port_stack_lowest(void);

#endif
