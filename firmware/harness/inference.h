/* The model and its memory: load an input, run, read the outputs, measure. */
#ifndef TINYOPT_INFERENCE_H
#define TINYOPT_INFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "model.h"

/* 1: inputs are kept in a buffer of their own, and every run starts from them. 0: they are written straight into the
 * arena, which saves MODEL_INPUT_BYTES of RAM on small devices; a run may overwrite them. */
#ifndef TINYOPT_KEEP_INPUT
#define TINYOPT_KEEP_INPUT 1
#endif

/* Stores a byte of the input; the inputs lie one after the other, 0 <= position < MODEL_INPUT_BYTES. */
void inference_load(uint32_t position, uint8_t byte);

/* A byte of the input as it was loaded; where it is not kept, whatever the last run made of it. */
uint8_t inference_input(uint32_t position);

/* Byte of the output; the outputs lie one after the other, 0 <= position < MODEL_OUTPUT_BYTES. */
uint8_t inference_output(uint32_t position);

/* Sets the model's states to their initial values. */
void inference_reset(void);

typedef struct {
  uint32_t count; /* steps of port_counter(), less what reading it takes */
  uint32_t stack; /* bytes below the caller, PORT_STACK_UNKNOWN unless asked for */
} inference_cost;

inference_cost inference_run(bool layers, bool stack);

/* Runs the input `runs` times between two edges of the trigger, for a meter. Steps of port_counter(), all runs
 * together. Where the input is not kept, every run after the first takes what the one before has left in its place. */
uint64_t inference_repeat(uint32_t runs);

/* Per layer, from the last run with layers; layer < MODEL_LAYER_COUNT. */
uint32_t inference_layer(uint32_t layer);

#endif
