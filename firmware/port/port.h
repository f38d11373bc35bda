/* What the measuring firmware needs from a machine. One folder of firmware/port implements it for a family of machines.
 *
 * Bare-metal ports are started by cortex_m/ or rv32/, which set up the stack, let the floating-point unit run, fill
 * .data, clear .bss and call main(). No interrupt is ever taken: the firmware polls, and sleeps between bytes.
 */
#ifndef TINYOPT_PORT_H
#define TINYOPT_PORT_H

#include <stdint.h>

/* What one step of port_counter() is. */
enum {
  PORT_COUNTS_CLOCK = 0,       /* a clock of port_counter_hz() */
  PORT_COUNTS_INSTRUCTIONS = 1 /* instructions executed; on average port_counter_hz() of them a second */
};

/* Shows a point of the program to an emulator that counts cycles: a hint that a core executes as a no-operation (Arm:
 * an unallocated 32-bit NOP hint; Armv6-M, which has none: a move of a register to itself, r9 to r12 in the order of
 * the marks; RISC-V: SLTI x0, x0, number). Only in builds for emulated boards. */
enum { PORT_MARK_RUN_BEGIN = 0x40, PORT_MARK_RUN_END, PORT_MARK_LAYER_BEGIN, PORT_MARK_LAYER_END };
#if !defined(TINYOPT_MARKS)
#define PORT_MARK(number) ((void)0)
#elif defined(__riscv)
#define PORT_MARK(number) __asm__ volatile("slti x0, x0, %0" ::"i"(number) : "memory")
#elif defined(__ARM_ARCH_6M__)
#define PORT_MARK(number) __asm__ volatile(".short 0x46c0 + 9 * %c0" ::"i"((number)-PORT_MARK_RUN_BEGIN + 1) : "memory")
#else
#define PORT_MARK(number) __asm__ volatile(".short 0xf3af, 0x8000 + %c0" ::"i"(number) : "memory")
#endif

/* Stack depth of a machine that cannot tell. */
#define PORT_STACK_UNKNOWN 0xFFFFFFFFu

/* Console and counter run after this. Called once, first. */
void port_init(void);

/* The next byte from the console, 0 to 255; blocks. Negative: the console was closed (only the host port). */
int port_getc(void);

/* One byte to the console; blocks until it is accepted. */
void port_putc(uint8_t byte);

/* Bytes that were accepted are on their way after this. Called at the end of every reply. */
void port_flush(void);

/* A free-running 32-bit counter that wraps around: differences modulo 2^32 are meaningful. */
uint32_t port_counter(void);
uint32_t port_counter_hz(void);
uint32_t port_counter_unit(void);

/* Stack depth of what runs between the two calls, in bytes below the caller's stack pointer; PORT_STACK_UNKNOWN where
 * there is no way to see it. Painting writes to all free stack (at most PORT_STACK_PAINTED bytes). */
#define PORT_STACK_PAINTED 65536u
void port_stack_paint(void);
uint32_t port_stack_used(void);

/* A falling edge on the pin TINYOPT_TIMESTAMP_PIN: low for 50 microseconds, so that a meter which samples the pin every
 * ten sees it, then high again. Only ports that have such a pin implement it, and only firmware that is built with
 * TINYOPT_TIMESTAMP_PIN calls it. */
void port_timestamp_pin(void);

/* Resets the machine unless called again within so many milliseconds; 0 calls it off. Only ports with a watchdog
 * implement it, and only firmware that is built with TINYOPT_WATCHDOG_MS calls it, around every inference. A port whose
 * watchdog cannot be stopped feeds it where it waits for bytes. */
void port_watchdog(uint32_t milliseconds);

#endif
