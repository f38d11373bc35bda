/* QEMU's RISC-V virt machine: 16550 UART as console, the instret counter. */
#include "port.h"

#define UART ((volatile uint8_t *)0x10000000u)
enum { UART_DATA = 0, UART_INTERRUPTS = 1, UART_FIFO = 2, UART_LINE_CONTROL = 3, UART_LINE_STATUS = 5 };
enum { LINE_8_BITS = 0x03, LINE_DIVISOR = 0x80, FIFO_ON = 0x01, FIFO_INTERRUPT_AT_14 = 0xC0 };
enum { LINE_RX_READY = 0x01, LINE_TX_EMPTY = 0x20 };

#define PLIC ((volatile uint32_t *)0x0C000000u)
enum { UART_SOURCE = 10, PLIC_ENABLE = 0x2000 / 4, PLIC_THRESHOLD = 0x200000 / 4, PLIC_CLAIM = 0x200004 / 4 };

void port_init(void) {
  /* 115200 baud, 8 bits; the divisor shares its addresses with data and interrupts */
  UART[UART_LINE_CONTROL] = LINE_DIVISOR | LINE_8_BITS;
  UART[UART_DATA] = 1;
  UART[UART_INTERRUPTS] = 0;
  UART[UART_LINE_CONTROL] = LINE_8_BITS;
  /* An emulator hands over as many bytes at once as make an interrupt: 14 of 16, or what has come after a pause. */
  UART[UART_FIFO] = FIFO_ON | FIFO_INTERRUPT_AT_14;
  UART[UART_INTERRUPTS] = 1;
  /* A received byte wakes the core; with interrupts off in mstatus it is not taken. */
  PLIC[UART_SOURCE] = 1;
  PLIC[PLIC_ENABLE] = 1u << UART_SOURCE;
  PLIC[PLIC_THRESHOLD] = 0;
  __asm__ volatile(".option push\n\t.option arch, +zicsr\n\tcsrs mie, %0\n\t.option pop" ::"r"(1u << 11));
}

int port_getc(void) {
  while (!(UART[UART_LINE_STATUS] & LINE_RX_READY)) {
    __asm__ volatile("wfi");
    uint32_t source = PLIC[PLIC_CLAIM];
    if (source) {
      PLIC[PLIC_CLAIM] = source;
    }
  }
  return UART[UART_DATA];
}

void port_putc(uint8_t byte) {
  while (!(UART[UART_LINE_STATUS] & LINE_TX_EMPTY)) {
  }
  UART[UART_DATA] = byte;
}

void port_flush(void) {}

uint32_t port_counter(void) {
  uint32_t value;
  __asm__ volatile(".option push\n\t.option arch, +zicsr\n\tcsrr %0, minstret\n\t.option pop" : "=r"(value));
  return value;
}

uint32_t port_counter_hz(void) {
  return 1000000000u; /* the emulator's clock: one nanosecond an instruction */
}

uint32_t port_counter_unit(void) {
  return PORT_COUNTS_INSTRUCTIONS;
}
