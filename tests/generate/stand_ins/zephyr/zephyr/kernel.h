#pragma once
#include <stdint.h>
struct k_thread {
  struct {
    uintptr_t start;
  } stack_info;
};
typedef struct k_thread *k_tid_t;
typedef struct {
  int64_t ticks;
} k_timeout_t;
#define K_SECONDS(s) ((k_timeout_t){s})
k_tid_t k_current_get(void);
uint32_t k_cycle_get_32(void);
uint32_t k_cyc_to_us_floor32(uint32_t cycles);
int32_t k_sleep(k_timeout_t timeout);
