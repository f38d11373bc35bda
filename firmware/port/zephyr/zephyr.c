/* Zephyr: the devicetree's console, polled, and the timing functions, which count the core's cycles where they can.
 * Interrupts of the kernel's clock are part of what is measured. */
#include <zephyr/device.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/timing/timing.h>

#include "port.h"
#include "stack.h"

static const struct device *const console = DEVICE_DT_GET(DT_CHOSEN(zephyr_console));

void port_init(void) {
  timing_init();
  timing_start();
}

int port_getc(void) {
  unsigned char byte;
  while (uart_poll_in(console, &byte) != 0) {
  }
  return byte;
}

void port_putc(uint8_t byte) {
  uart_poll_out(console, byte);
}

void port_flush(void) {}

uint32_t port_counter(void) {
  return (uint32_t)timing_counter_get();
}

uint32_t port_counter_hz(void) {
  return (uint32_t)timing_freq_get();
}

uint32_t port_counter_unit(void) {
  return PORT_COUNTS_CLOCK;
}

uintptr_t port_stack_lowest(void) {
  return (uintptr_t)k_current_get()->stack_info.start;
}
