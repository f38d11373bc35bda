/* Arm MPS2 and MPS3 FPGA boards: CMSDK UART as console, the FPGA's cycle counter.
 *
 * TINYOPT_CONSOLE_BASE, TINYOPT_COUNTER_BASE and TINYOPT_COUNTER_HZ come from the board file, TINYOPT_WATCHDOG_BASE and
 * the trigger's LED from whoever wants them. Register layouts: Arm Cortex-M System Design Kit (APB UART, watchdog),
 * MPS2 and MPS3 application notes (FPGA system control and I/O).
 */
#include "port.h"

#define UART ((volatile uint32_t *)TINYOPT_CONSOLE_BASE)
enum { UART_DATA = 0, UART_STATE = 1, UART_CTRL = 2, UART_INTSTATUS = 3, UART_BAUDDIV = 4 };
enum { TX_FULL = 1u, RX_FULL = 2u, TX_ENABLE = 1u, RX_ENABLE = 2u, RX_INTERRUPT = 8u };

#define FPGAIO ((volatile uint32_t *)TINYOPT_COUNTER_BASE)
enum { FPGAIO_LEDS = 0, FPGAIO_COUNTER = 6, FPGAIO_PRESCALE = 7 };

#define NVIC_ISER ((volatile uint32_t *)0xE000E100u)
#define NVIC_ICPR ((volatile uint32_t *)0xE000E280u)

void port_init(void) {
  UART[UART_BAUDDIV] = TINYOPT_COUNTER_HZ / 115200u;
  UART[UART_CTRL] = TX_ENABLE | RX_ENABLE | RX_INTERRUPT;
  (void)UART[UART_DATA]; /* tells an emulator, too, that bytes are taken from now on */
  FPGAIO[FPGAIO_PRESCALE] = 0;
  /* The core wakes on a received byte; the interrupt itself is masked. */
  NVIC_ISER[TINYOPT_CONSOLE_INTERRUPT / 32u] = 1u << (TINYOPT_CONSOLE_INTERRUPT % 32u);
}

int port_getc(void) {
  while (!(UART[UART_STATE] & RX_FULL)) {
    __asm__ volatile("wfi");
  }
  int byte = (int)(UART[UART_DATA] & 0xFFu);
  UART[UART_INTSTATUS] = 2u;
  NVIC_ICPR[TINYOPT_CONSOLE_INTERRUPT / 32u] = 1u << (TINYOPT_CONSOLE_INTERRUPT % 32u);
  return byte;
}

void port_putc(uint8_t byte) {
  while (UART[UART_STATE] & TX_FULL) {
  }
  UART[UART_DATA] = byte;
}

void port_flush(void) {}

uint32_t port_counter(void) {
  return FPGAIO[FPGAIO_COUNTER];
}

uint32_t port_counter_hz(void) {
  return TINYOPT_COUNTER_HZ;
}

uint32_t port_counter_unit(void) {
  return PORT_COUNTS_CLOCK;
}

#if defined(TINYOPT_TIMESTAMP_PIN)
/* One of the user LEDs; the counter says how long a microsecond is. */
void port_timestamp_pin(void) {
  uint32_t others = FPGAIO[FPGAIO_LEDS] & ~(1u << TINYOPT_TIMESTAMP_PIN);
  FPGAIO[FPGAIO_LEDS] = others;
  uint32_t started = FPGAIO[FPGAIO_COUNTER];
  while (FPGAIO[FPGAIO_COUNTER] - started < TINYOPT_COUNTER_HZ / 1000000u + 1u) {
  }
  FPGAIO[FPGAIO_LEDS] = others | 1u << TINYOPT_TIMESTAMP_PIN;
}
#endif

#if defined(TINYOPT_WATCHDOG_MS)
#define WATCHDOG ((volatile uint32_t *)TINYOPT_WATCHDOG_BASE)
enum { WATCHDOG_LOAD = 0, WATCHDOG_CONTROL = 2, WATCHDOG_LOCK = 0x300 };

/* The first time it runs out it raises an NMI, whose handler reports where the program hangs; the second time it
 * resets.
 */
void port_watchdog(uint32_t milliseconds) {
  WATCHDOG[WATCHDOG_LOCK] = 0x1ACCE551u;
  WATCHDOG[WATCHDOG_LOAD] = TINYOPT_COUNTER_HZ / 1000u * milliseconds / 2u;
  WATCHDOG[WATCHDOG_CONTROL] = milliseconds ? 3u : 0u;
}
#endif
