#pragma once
typedef int esp_err_t;
typedef int gpio_num_t;
enum { GPIO_MODE_OUTPUT = 2 };
#define ESP_ERROR_CHECK(call) ((void)(call))
esp_err_t gpio_set_direction(gpio_num_t pin, int mode);
esp_err_t gpio_set_level(gpio_num_t pin, unsigned level);
