/* Symbols of the linker script. */
#ifndef TINYOPT_PORT_MEMORY_H
#define TINYOPT_PORT_MEMORY_H

#include <stdint.h>

extern uint32_t port_data_load[], port_data_start[], port_data_end[];
extern uint32_t port_bss_start[], port_bss_end[];
extern uint32_t port_stack_limit[], port_stack_top[];

/* Fills .data, clears .bss, calls main and never returns. The stack and the floating-point unit must be ready. */
void port_enter_main(void) __attribute__((noreturn));

#endif
