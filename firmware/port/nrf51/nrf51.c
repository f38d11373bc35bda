/* Nordic nRF51: UART as console, TIMER0 as a 32-bit counter at 16 MHz (nRF51 series reference manual). */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UART_STARTRX REGISTER(0x40002000u)
#define UART_STARTTX REGISTER(0x40002008u)
#define UART_RXDRDY REGISTER(0x40002108u)
#define UART_TXDRDY REGISTER(0x4000211Cu)
#define UART_INTENSET REGISTER(0x40002304u)
#define UART_ENABLE REGISTER(0x40002500u)
#define UART_PSELTXD REGISTER(0x4000250Cu)
#define UART_PSELRXD REGISTER(0x40002514u)
#define UART_RXD REGISTER(0x40002518u)
#define UART_TXD REGISTER(0x4000251Cu)
#define UART_BAUDRATE REGISTER(0x40002524u)
enum { UART_INTERRUPT = 2 };

#define TIMER0_START REGISTER(0x40008000u)
#define TIMER0_CAPTURE0 REGISTER(0x40008040u)
#define TIMER0_MODE REGISTER(0x40008504u)
#define TIMER0_BITMODE REGISTER(0x40008508u)
#define TIMER0_PRESCALER REGISTER(0x40008510u)
#define TIMER0_CC0 REGISTER(0x40008540u)

#define NVIC_ISER REGISTER(0xE000E100u)
#define NVIC_ICPR REGISTER(0xE000E280u)

void port_init(void) {
  UART_PSELTXD = 24; /* the pins of the micro:bit's USB interface */
  UART_PSELRXD = 25;
  UART_BAUDRATE = 0x01D7E000u; /* 115200 */
  UART_ENABLE = 4;
  UART_STARTRX = 1;
  UART_STARTTX = 1;
  UART_INTENSET = 1u << 2; /* a received byte wakes the core; the interrupt itself is masked */
  NVIC_ISER = 1u << UART_INTERRUPT;
  TIMER0_MODE = 0;
  TIMER0_BITMODE = 3; /* 32 bits */
  TIMER0_PRESCALER = 0;
  TIMER0_START = 1; /* last: a new timer makes an emulator look at the console, which takes bytes from now on */
}

int port_getc(void) {
  while (!UART_RXDRDY) {
    __asm__ volatile("wfi");
  }
  UART_RXDRDY = 0; /* before the read: the next byte sets it again */
  int byte = (int)(UART_RXD & 0xFFu);
  NVIC_ICPR = 1u << UART_INTERRUPT;
  return byte;
}

void port_putc(uint8_t byte) {
  UART_TXDRDY = 0;
  UART_TXD = byte;
  while (!UART_TXDRDY) {
  }
}

void port_flush(void) {}

uint32_t port_counter(void) {
  TIMER0_CAPTURE0 = 1;
  return TIMER0_CC0;
}

uint32_t port_counter_hz(void) {
  return 16000000u;
}

uint32_t port_counter_unit(void) {
  return PORT_COUNTS_CLOCK;
}
