/* A hand-written model for tests of the measuring firmware: two inputs, two outputs, two layers, one state. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#define MODEL_NAME "fake"
#define MODEL_INPUT_COUNT 2
#define MODEL_OUTPUT_COUNT 2
#define MODEL_LAYER_COUNT 2
#define MODEL_HAS_STATE 1
#define MODEL_INPUT_0_BYTES 24
#define MODEL_INPUT_1_BYTES 8
#define MODEL_INPUT_BYTES 32
#define MODEL_OUTPUT_0_BYTES 4
#define MODEL_OUTPUT_0_ELEMENTS 4
#define MODEL_OUTPUT_0_SCALE 0.25f
#define MODEL_OUTPUT_0_ZERO_POINT (-4)
#define MODEL_OUTPUT_1_BYTES 4
#define MODEL_OUTPUT_BYTES 8
#ifndef MODEL_ARENA_BYTES
#define MODEL_ARENA_BYTES 64
#endif

static inline void *model_input(void *arena, unsigned i) {
  return (uint8_t *)arena + (i == 0 ? 0 : 24);
}

static inline const void *model_output(const void *arena, unsigned i) {
  return (const uint8_t *)arena + (i == 0 ? 32 : 36);
}

static inline unsigned model_input_bytes(unsigned i) {
  return i == 0 ? MODEL_INPUT_0_BYTES : MODEL_INPUT_1_BYTES;
}

static inline unsigned model_output_bytes(unsigned i) {
  return i == 0 ? MODEL_OUTPUT_0_BYTES : MODEL_OUTPUT_1_BYTES;
}

void model_reset(void *arena);
void model_run(void *arena);

#endif
