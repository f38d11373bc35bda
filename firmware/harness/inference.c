#include "inference.h"

#include <string.h>

#include "port.h"
#include "tinyopt_profile.h"
#include "trigger.h"

static uint8_t arena[MODEL_ARENA_BYTES > 0 ? MODEL_ARENA_BYTES : 1] __attribute__((aligned(16)));
static uint32_t layer_counts[MODEL_LAYER_COUNT > 0 ? MODEL_LAYER_COUNT : 1];
static uint32_t layer_started, layer_overhead;
#if TINYOPT_KEEP_INPUT
static uint8_t input_bytes[MODEL_INPUT_BYTES];
#endif

void model_run_profiled(void *memory);

void profile_begin(void) {
  layer_started = port_counter();
}

void profile_end(unsigned layer) {
  uint32_t elapsed = port_counter() - layer_started;
  if (layer < MODEL_LAYER_COUNT) {
    layer_counts[layer] += elapsed > layer_overhead ? elapsed - layer_overhead : 0;
  }
}

static uint8_t *input_byte(uint32_t position) {
#if TINYOPT_KEEP_INPUT
  return input_bytes + position;
#else
  unsigned input = 0;
  while (position >= model_input_bytes(input)) {
    position -= model_input_bytes(input++);
  }
  return (uint8_t *)model_input(arena, input) + position;
#endif
}

void inference_load(uint32_t position, uint8_t byte) {
  *input_byte(position) = byte;
}

uint8_t inference_input(uint32_t position) {
  return *input_byte(position);
}

uint8_t inference_output(uint32_t position) {
  unsigned output = 0;
  while (position >= model_output_bytes(output)) {
    position -= model_output_bytes(output++);
  }
  return ((const uint8_t *)model_output(arena, output))[position];
}

void inference_reset(void) {
#if MODEL_HAS_STATE
  model_reset(arena);
#endif
}

static void place_inputs(void) {
#if TINYOPT_KEEP_INPUT
  uint32_t position = 0;
  for (unsigned input = 0; input < MODEL_INPUT_COUNT; ++input) {
    (void)memcpy(model_input(arena, input), input_bytes + position, model_input_bytes(input));
    position += model_input_bytes(input);
  }
#endif
}

static void nothing(void *memory) {
  (void)memory;
}

/* Calls through a pointer that the compiler cannot see through, so that an empty call costs what a real one does. */
static inline __attribute__((always_inline)) uint32_t timed(void (*volatile run)(void *), bool marked) {
  uint32_t started = port_counter();
  if (marked) {
    PORT_MARK(PORT_MARK_RUN_BEGIN);
  }
  run(arena);
  if (marked) {
    PORT_MARK(PORT_MARK_RUN_END);
  }
  return port_counter() - started;
}

/* A model that never comes back must not keep a device for itself: where the port has a watchdog, it resets then. */
static void guard(bool on) {
#if defined(TINYOPT_WATCHDOG_MS)
  port_watchdog(on ? TINYOPT_WATCHDOG_MS : 0u);
#else
  (void)on;
#endif
}

inference_cost inference_run(bool layers, bool stack) {
  inference_cost cost = {0, PORT_STACK_UNKNOWN};
  uint32_t overhead = timed(nothing, false);
  place_inputs();
  if (layers) {
    (void)memset(layer_counts, 0, sizeof layer_counts);
    layer_overhead = 0;
    profile_begin();
    profile_end(0);
    layer_overhead = layer_counts[0];
    layer_counts[0] = 0;
  }
  if (stack) {
    port_stack_paint();
  }
  guard(true);
  cost.count = timed(layers ? model_run_profiled : model_run, true) - overhead;
  guard(false);
  if (stack) {
    cost.stack = port_stack_used();
  }
  return cost;
}

uint64_t inference_repeat(uint32_t runs) {
  uint64_t count = 0;
  trigger_edge();
  for (; runs; --runs) {
    count += inference_run(false, false).count;
  }
  trigger_edge();
  return count;
}

uint32_t inference_layer(uint32_t layer) {
  return layer_counts[layer];
}
