/* A process on a POSIX system: console on standard input and output, the monotonic clock in nanoseconds. */
#define _POSIX_C_SOURCE 199309L
#include "port.h"
#include <stdio.h>
#include <time.h>

void port_init(void) {}

int port_getc(void) {
  int byte = getchar();
  if (byte == EOF) {
    (void)fflush(stdout);
    return -1;
  }
  return byte;
}

void port_putc(uint8_t byte) {
  (void)putchar(byte);
}

void port_flush(void) {
  (void)fflush(stdout);
}

uint32_t port_counter(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
}

uint32_t port_counter_hz(void) {
  return 1000000000u;
}

uint32_t port_counter_unit(void) {
  return PORT_COUNTS_CLOCK;
}

void port_stack_paint(void) {}

uint32_t port_stack_used(void) {
  return PORT_STACK_UNKNOWN;
}
