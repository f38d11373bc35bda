#pragma once
#include "freertos/FreeRTOS.h"
typedef void *TaskHandle_t;
void vTaskDelay(TickType_t ticks);
uint8_t *pxTaskGetStackStart(TaskHandle_t task);
