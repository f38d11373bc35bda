#include "model.h"

#include <string.h>

#include "fake.h"
#include "model_weights.h"

#ifdef TINYOPT_PROFILE
#include "tinyopt_profile.h"
#else
#define TINYOPT_LAYER_BEGIN(i)
#define TINYOPT_LAYER_END(i)
#endif

/* Arena: input 0 at 0, input 1 at 24, output 0 at 32, output 1 (the state: a running sum of input 1) at 36. */
void model_reset(void *arena) {
  int32_t initial = 100;
  (void)memcpy((uint8_t *)arena + 36, &initial, sizeof initial);
}

void model_run(void *arena) {
  uint8_t *base = arena;
  int32_t sum;
  TINYOPT_LAYER_BEGIN(0);
  fake_dense((const int8_t *)base, model_fake_weights, (int8_t *)base + 32);
  TINYOPT_LAYER_END(0);
  TINYOPT_LAYER_BEGIN(1);
  (void)memcpy(&sum, base + 36, sizeof sum);
  sum = fake_sum((const int8_t *)base + 24, sum);
  (void)memcpy(base + 36, &sum, sizeof sum);
  (void)memset(base, 0x55, 32); /* running destroys the inputs */
  TINYOPT_LAYER_END(1);
}
