/* STM32Cube HAL: the UART of the ST-LINK's virtual COM port, and the core's cycle counter.
 *
 * board.h of the project starts clocks and console. Where the core has no cycle counter (Cortex-M0+), SysTick and the
 * HAL's milliseconds are one.
 */
#include "board.h"
#include "cycles.h"
#include "port.h"

static bool has_cycle_counter;

#if defined(TINYOPT_TIMESTAMP_PIN)
/* The pin for time stamps: its port is a letter, TINYOPT_TIMESTAMP_PORT, its number TINYOPT_TIMESTAMP_PIN. */
#define JOIN(a, b, c) a##b##c
#define PORT_OF(letter) JOIN(GPIO, letter, )
#define CLOCK_OF(letter) JOIN(__HAL_RCC_GPIO, letter, _CLK_ENABLE)()
#define TIMESTAMP_PORT PORT_OF(TINYOPT_TIMESTAMP_PORT)

static void start_timestamp_pin(void) {
  CLOCK_OF(TINYOPT_TIMESTAMP_PORT);
  GPIO_InitTypeDef settings = {0};
  settings.Pin = 1u << TINYOPT_TIMESTAMP_PIN;
  settings.Mode = GPIO_MODE_OUTPUT_PP;
  settings.Speed = GPIO_SPEED_FREQ_VERY_HIGH;
  HAL_GPIO_Init(TIMESTAMP_PORT, &settings);
  HAL_GPIO_WritePin(TIMESTAMP_PORT, 1u << TINYOPT_TIMESTAMP_PIN, GPIO_PIN_SET);
}
#endif

void port_init(void) {
  board_start();
  has_cycle_counter = cycles_start();
#if defined(TINYOPT_TIMESTAMP_PIN)
  start_timestamp_pin();
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
  HAL_GPIO_WritePin(TIMESTAMP_PORT, 1u << TINYOPT_TIMESTAMP_PIN, GPIO_PIN_RESET);
  uint32_t start = port_counter();
  while (port_counter() - start < port_counter_hz() / 20000u) {
  }
  HAL_GPIO_WritePin(TIMESTAMP_PORT, 1u << TINYOPT_TIMESTAMP_PIN, GPIO_PIN_SET);
}
#endif
