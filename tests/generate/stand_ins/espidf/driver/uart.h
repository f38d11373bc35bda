#pragma once
#include <stddef.h>
#include <stdint.h>

#include "driver/gpio.h"
#include "freertos/FreeRTOS.h"

enum { UART_NUM_0, UART_DATA_8_BITS = 3, UART_PARITY_DISABLE = 0, UART_STOP_BITS_1 = 1, UART_HW_FLOWCTRL_DISABLE = 0 };
enum { UART_SCLK_DEFAULT = 4 };
typedef struct {
  int baud_rate, data_bits, parity, stop_bits, flow_ctrl;
  uint8_t rx_flow_ctrl_thresh;
  int source_clk;
} uart_config_t;
esp_err_t uart_driver_install(int port, int rx_bytes, int tx_bytes, int events, void *queue, int flags);
esp_err_t uart_param_config(int port, const uart_config_t *config);
int uart_read_bytes(int port, void *data, uint32_t bytes, TickType_t ticks);
int uart_write_bytes(int port, const void *data, size_t bytes);
esp_err_t uart_wait_tx_done(int port, TickType_t ticks);
