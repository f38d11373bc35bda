#pragma once
#include <stdbool.h>
#include <stdint.h>

enum {
  NONE,
  GPIO_MODE_AF_PP,
  GPIO_MODE_OUTPUT_PP,
  GPIO_PULLUP,
  GPIO_SPEED_FREQ_VERY_HIGH,
  GPIO_PIN_RESET,
  GPIO_PIN_SET,
  GPIO_AF1_USART2,
  GPIO_AF7_USART1,
  GPIO_AF7_USART2,
  GPIO_AF7_USART3,
  GPIO_AF8_LPUART1,
  UART_WORDLENGTH_8B,
  UART_STOPBITS_1,
  UART_PARITY_NONE,
  UART_MODE_TX_RX,
  UART_HWCONTROL_NONE,
  UART_OVERSAMPLING_16,
  RCC_OSCILLATORTYPE_MSI,
  RCC_OSCILLATORTYPE_HSI,
  RCC_MSI_ON,
  RCC_MSIRANGE_6,
  RCC_MSICALIBRATION_DEFAULT,
  RCC_HSI_ON,
  RCC_HSI_DIV1,
  RCC_HSICALIBRATION_DEFAULT,
  RCC_PLL_ON,
  RCC_PLLSOURCE_MSI,
  RCC_PLLSOURCE_HSI,
  RCC_PLLM_DIV1,
  RCC_PLLP_DIV2,
  RCC_PLLP_DIV7,
  RCC_PLLQ_DIV2,
  RCC_PLLQ_DIV4,
  RCC_PLLR_DIV2,
  RCC_PLL1VCIRANGE_3,
  RCC_PLL1VCOWIDE,
  RCC_CLOCKTYPE_SYSCLK,
  RCC_CLOCKTYPE_HCLK,
  RCC_CLOCKTYPE_PCLK1,
  RCC_CLOCKTYPE_PCLK2,
  RCC_CLOCKTYPE_D1PCLK1,
  RCC_CLOCKTYPE_D3PCLK1,
  RCC_SYSCLKSOURCE_PLLCLK,
  RCC_SYSCLK_DIV1,
  RCC_HCLK_DIV1,
  RCC_HCLK_DIV2,
  RCC_HCLK_DIV4,
  RCC_APB1_DIV2,
  RCC_APB2_DIV2,
  RCC_APB3_DIV2,
  RCC_APB4_DIV2,
  FLASH_LATENCY_2,
  FLASH_LATENCY_4,
  FLASH_LATENCY_5,
  FLASH_LATENCY_7,
  PWR_REGULATOR_VOLTAGE_SCALE0,
  PWR_REGULATOR_VOLTAGE_SCALE1,
  PWR_REGULATOR_VOLTAGE_SCALE1_BOOST,
  PWR_LDO_SUPPLY,
  PWR_FLAG_VOSRDY
};

typedef enum { HAL_OK, HAL_ERROR } HAL_StatusTypeDef;
typedef struct {
  volatile uint32_t MODER;
} GPIO_TypeDef;
typedef struct {
  volatile uint32_t CR1;
} USART_TypeDef;
typedef struct {
  volatile uint32_t CTRL, LOAD, VAL;
} SysTick_Type;
typedef struct {
  uint32_t Pin, Mode, Pull, Speed, Alternate;
} GPIO_InitTypeDef;
typedef struct {
  USART_TypeDef *Instance;
  struct {
    uint32_t BaudRate, WordLength, StopBits, Parity, Mode, HwFlowCtl, OverSampling;
  } Init;
} UART_HandleTypeDef;
typedef struct {
  uint32_t OscillatorType, MSIState, MSIClockRange, MSICalibrationValue, HSIState, HSIDiv, HSICalibrationValue;
  struct {
    uint32_t PLLState, PLLSource, PLLM, PLLN, PLLP, PLLQ, PLLR, PLLRGE, PLLVCOSEL;
  } PLL;
} RCC_OscInitTypeDef;
typedef struct {
  uint32_t ClockType, SYSCLKSource, SYSCLKDivider, AHBCLKDivider, APB1CLKDivider, APB2CLKDivider, APB3CLKDivider,
      APB4CLKDivider;
} RCC_ClkInitTypeDef;

extern GPIO_TypeDef *GPIOA, *GPIOB, *GPIOD, *GPIOG;
extern USART_TypeDef *LPUART1, *USART1, *USART2, *USART3;
extern SysTick_Type *SysTick;
#define GPIO_PIN_0 ((uint16_t)(1u << 0))
#define GPIO_PIN_1 ((uint16_t)(1u << 1))
#define GPIO_PIN_2 ((uint16_t)(1u << 2))
#define GPIO_PIN_3 ((uint16_t)(1u << 3))
#define GPIO_PIN_4 ((uint16_t)(1u << 4))
#define GPIO_PIN_5 ((uint16_t)(1u << 5))
#define GPIO_PIN_6 ((uint16_t)(1u << 6))
#define GPIO_PIN_7 ((uint16_t)(1u << 7))
#define GPIO_PIN_8 ((uint16_t)(1u << 8))
#define GPIO_PIN_9 ((uint16_t)(1u << 9))
#define GPIO_PIN_10 ((uint16_t)(1u << 10))
#define GPIO_PIN_11 ((uint16_t)(1u << 11))
#define GPIO_PIN_12 ((uint16_t)(1u << 12))
#define GPIO_PIN_13 ((uint16_t)(1u << 13))
#define GPIO_PIN_14 ((uint16_t)(1u << 14))
#define GPIO_PIN_15 ((uint16_t)(1u << 15))
#define HAL_MAX_DELAY 0xFFFFFFFFu

void clock_enable(void);
#define __HAL_RCC_GPIOA_CLK_ENABLE() clock_enable()
#define __HAL_RCC_GPIOB_CLK_ENABLE() clock_enable()
#define __HAL_RCC_GPIOD_CLK_ENABLE() clock_enable()
#define __HAL_RCC_GPIOG_CLK_ENABLE() clock_enable()
#define __HAL_RCC_LPUART1_CLK_ENABLE() clock_enable()
#define __HAL_RCC_USART1_CLK_ENABLE() clock_enable()
#define __HAL_RCC_USART2_CLK_ENABLE() clock_enable()
#define __HAL_RCC_USART3_CLK_ENABLE() clock_enable()
#define __HAL_RCC_PWR_CLK_ENABLE() clock_enable()
#define __HAL_RCC_SYSCFG_CLK_ENABLE() clock_enable()
void voltage(uint32_t scale);
bool power_flag(uint32_t flag);
#define __HAL_PWR_VOLTAGESCALING_CONFIG(scale) voltage(scale)
#define __HAL_PWR_GET_FLAG(flag) power_flag(flag)

HAL_StatusTypeDef HAL_Init(void);
void HAL_IncTick(void);
uint32_t HAL_GetTick(void);
void HAL_Delay(uint32_t milliseconds);
void HAL_GPIO_Init(GPIO_TypeDef *port, GPIO_InitTypeDef *settings);
void HAL_GPIO_WritePin(GPIO_TypeDef *port, uint16_t pin, int state);
HAL_StatusTypeDef HAL_UART_Init(UART_HandleTypeDef *uart);
HAL_StatusTypeDef HAL_UART_Transmit(UART_HandleTypeDef *uart, const uint8_t *data, uint16_t bytes, uint32_t timeout);
HAL_StatusTypeDef HAL_UART_Receive(UART_HandleTypeDef *uart, uint8_t *data, uint16_t bytes, uint32_t timeout);
HAL_StatusTypeDef HAL_RCC_OscConfig(RCC_OscInitTypeDef *settings);
HAL_StatusTypeDef HAL_RCC_ClockConfig(RCC_ClkInitTypeDef *settings, uint32_t latency);
uint32_t HAL_RCC_GetHCLKFreq(void);
HAL_StatusTypeDef HAL_PWREx_ControlVoltageScaling(uint32_t scale);
HAL_StatusTypeDef HAL_PWREx_EnableOverDrive(void);
HAL_StatusTypeDef HAL_PWREx_ConfigSupply(uint32_t supply);
void HAL_PWREx_EnableVddIO2(void);
void SCB_EnableICache(void);
void SCB_EnableDCache(void);
