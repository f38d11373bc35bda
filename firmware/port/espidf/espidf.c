/* ESP-IDF: UART 0 as console, the core's cycle counter. The firmware is the main task. */
#include "driver/gpio.h"
#include "driver/uart.h"
#include "esp_cpu.h"
#include "esp_rom_sys.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "port.h"
#include "sdkconfig.h"
#include "stack.h"

enum { CONSOLE = UART_NUM_0, BUFFER_BYTES = 4096 };

int measure(void);

void app_main(void) {
  (void)measure();
}

void port_init(void) {
  const uart_config_t config = {
      .baud_rate = TINYOPT_BAUD_RATE,
      .data_bits = UART_DATA_8_BITS,
      .parity = UART_PARITY_DISABLE,
      .stop_bits = UART_STOP_BITS_1,
      .flow_ctrl = UART_HW_FLOWCTRL_DISABLE,
      .source_clk = UART_SCLK_DEFAULT,
  };
  ESP_ERROR_CHECK(uart_driver_install(CONSOLE, BUFFER_BYTES, BUFFER_BYTES, 0, NULL, 0));
  ESP_ERROR_CHECK(uart_param_config(CONSOLE, &config));
#if defined(TINYOPT_TIMESTAMP_PIN)
  ESP_ERROR_CHECK(gpio_set_direction(TINYOPT_TIMESTAMP_PIN, GPIO_MODE_OUTPUT));
  ESP_ERROR_CHECK(gpio_set_level(TINYOPT_TIMESTAMP_PIN, 1));
#endif
}

int port_getc(void) {
  uint8_t byte;
  while (uart_read_bytes(CONSOLE, &byte, 1, portMAX_DELAY) != 1) {
  }
  return byte;
}

void port_putc(uint8_t byte) {
  (void)uart_write_bytes(CONSOLE, &byte, 1);
}

void port_flush(void) {
  (void)uart_wait_tx_done(CONSOLE, portMAX_DELAY);
}

uint32_t port_counter(void) {
  return (uint32_t)esp_cpu_get_cycle_count();
}

uint32_t port_counter_hz(void) {
  return (uint32_t)CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ * 1000000u;
}

uint32_t port_counter_unit(void) {
  return PORT_COUNTS_CLOCK;
}

uintptr_t port_stack_lowest(void) {
  return (uintptr_t)pxTaskGetStackStart(NULL);
}

#if defined(TINYOPT_TIMESTAMP_PIN)
void port_timestamp_pin(void) {
  (void)gpio_set_level(TINYOPT_TIMESTAMP_PIN, 0);
  esp_rom_delay_us(50);
  (void)gpio_set_level(TINYOPT_TIMESTAMP_PIN, 1);
}
#endif
