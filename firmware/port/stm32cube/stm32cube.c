/* STM32Cube HAL: the UART of the ST-LINK's virtual COM port, and the core's cycle counter.
 *
 * board.h of the project starts clocks and console. Where the core has no cycle counter (Cortex-M0+), SysTick and the
 * HAL's milliseconds are one.
 */
#include "board.h"
#include "cycles.h"
#include "port.h"

static bool has_cycle_counter;

void port_init(void) {
  board_start();
  has_cycle_counter = cycles_start();
#if defined(TINYOPT_TIMESTAMP_PIN)
  board_timestamp_start();
#endif
}

int port_getc(void) {
  uint8_t byte;
  while (HAL_UART_Receive(&board_console, &byte, 1, HAL_MAX_DELAY) != HAL_OK) {
    /* an overrun, which the HAL has cleared: the host repeats what is lost */
  }
  return byte;
}

void port_putc(uint8_t byte) {
  (void)HAL_UART_Transmit(&board_console, &byte, 1, HAL_MAX_DELAY);
}

void port_flush(void) {}

uint32_t port_counter(void) {
  if (has_cycle_counter) {
    return cycles_now();
  }
  for (;;) {
    uint32_t milliseconds = HAL_GetTick();
    uint32_t value = SysTick->VAL;
    if (milliseconds == HAL_GetTick()) {
      uint32_t period = SysTick->LOAD + 1u;
      return milliseconds * period + (period - 1u - value);
    }
  }
}

uint32_t port_counter_hz(void) {
  return HAL_RCC_GetHCLKFreq();
}

uint32_t port_counter_unit(void) {
  return PORT_COUNTS_CLOCK;
}

#if defined(TINYOPT_TIMESTAMP_PIN)
void port_timestamp_pin(void) {
  board_timestamp_set(0);
  uint32_t start = port_counter();
  while (port_counter() - start < port_counter_hz() / 500000u) {
  }
  board_timestamp_set(1);
}
#endif
