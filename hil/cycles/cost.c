#include "cost.h"

#include <string.h>

/* Sources. m0, m0plus, m3, m4: cycle tables of the Arm technical reference manuals, and rules for what those leave open
 * (address dependencies, literal loads, stores, branch alignment) from a study on published Embench times of an
 * STM32F407. m7, m55: the latencies and pairs that Arm contributed to LLVM as scheduling models; m33: those of the m55,
 * whose model says that the two are alike, but for shifts. Refills of m33 and m55 are those of the m4, for want of
 * better. rv32: the documented timings of lowRISC Ibex with a single-cycle multiplier and the branch target adder,
 * without the writeback stage. docs/cycles.md states the error of each. */
/* clang-format off */
static const core_model cores[] = {
    {.name = "m0", .issue_width = 1, .vector_beats = 1,
     .load = 2, .load_pipelined = 2, .store = 2, .store_register = 2, .multiple = 1,
     .multiply = 1, .multiply_accumulate = 1, .multiply_long = 1, .divide = 1,
     .refill_direct = 2, .refill_indirect = 2, .refill_return = 3, .refill_call = 3,
     .float_simple = 1, .float_multiply_accumulate = 1, .float_divide = 1},
    {.name = "m0plus", .issue_width = 1, .vector_beats = 1,
     .load = 2, .load_pipelined = 2, .store = 2, .store_register = 2, .multiple = 1,
     .multiply = 1, .multiply_accumulate = 1, .multiply_long = 1, .divide = 1,
     .refill_direct = 1, .refill_indirect = 1, .refill_return = 2, .refill_call = 2,
     .float_simple = 1, .float_multiply_accumulate = 1, .float_divide = 1},
    {.name = "m3", .issue_width = 1, .vector_beats = 1,
     .load = 2, .load_pipelined = 1, .store = 1, .store_register = 2, .multiple = 1,
     .after_store = 1, .literal = 1, .address_dependency = 1, .unaligned_target = 1,
     .multiply = 1, .multiply_accumulate = 2, .multiply_long = 4, .divide = 7,
     .refill_direct = 2, .refill_indirect = 3, .refill_return = 3, .refill_call = 2,
     .float_simple = 1, .float_multiply_accumulate = 1, .float_divide = 1},
    {.name = "m4", .issue_width = 1, .vector_beats = 1,
     .load = 2, .load_pipelined = 1, .store = 1, .store_register = 2, .multiple = 1,
     .after_store = 1, .literal = 1, .address_dependency = 1, .unaligned_target = 1,
     .multiply = 1, .multiply_accumulate = 1, .multiply_long = 1, .divide = 7,
     .refill_direct = 2, .refill_indirect = 3, .refill_return = 3, .refill_call = 2,
     .float_simple = 1, .float_multiply_accumulate = 3, .float_divide = 14},
    {.name = "m7", .issue_width = 2, .vector_beats = 1, .registers_per_cycle = 2,
     .alu_latency = 1, .shift_latency = 1, .load_latency = 1, .narrow_load_latency = 2, .multiply_latency = 2,
     .early = 1, .late = 1, .mispredicted = 6,
     .load = 1, .load_pipelined = 1, .store = 1, .store_register = 1, .multiple = 0,
     .multiply = 1, .multiply_accumulate = 1, .multiply_long = 1, .divide = 7,
     .refill_direct = 0, .refill_indirect = 4, .refill_return = 1, .refill_call = 0,
     .float_simple = 1, .float_multiply_accumulate = 1, .float_divide = 14},
    {.name = "m33", .issue_width = 2, .pairs_only_simple = true, .vector_beats = 1,
     .alu_latency = 1, .shift_latency = 1, .load_latency = 2, .narrow_load_latency = 2, .multiply_latency = 2,
     .load = 1, .load_pipelined = 1, .store = 1, .store_register = 1, .multiple = 1, .unaligned_target = 1,
     .multiply = 1, .multiply_accumulate = 1, .multiply_long = 1, .divide = 7,
     .refill_direct = 2, .refill_indirect = 3, .refill_return = 3, .refill_call = 2,
     .float_simple = 1, .float_multiply_accumulate = 3, .float_divide = 14},
    {.name = "m55", .issue_width = 2, .pairs_only_simple = true, .vector_beats = 2,
     .alu_latency = 1, .shift_latency = 2, .load_latency = 2, .narrow_load_latency = 2, .multiply_latency = 2,
     .load = 1, .load_pipelined = 1, .store = 1, .store_register = 1, .multiple = 1,
     .multiply = 1, .multiply_accumulate = 1, .multiply_long = 1, .divide = 7,
     .refill_direct = 2, .refill_indirect = 3, .refill_return = 3, .refill_call = 2,
     .float_simple = 1, .float_multiply_accumulate = 2, .float_divide = 14},
    {.name = "rv32", .is_riscv = true, .issue_width = 1, .vector_beats = 1,
     .load = 2, .load_pipelined = 2, .store = 2, .store_register = 2, .multiple = 1,
     .multiply = 1, .multiply_accumulate = 1, .multiply_long = 2, .divide = 37,
     .refill_direct = 1, .refill_indirect = 1, .refill_return = 1, .refill_call = 1,
     .float_simple = 1, .float_multiply_accumulate = 1, .float_divide = 1},
};
/* clang-format on */

const core_model *find_core(const char *name) {
  for (size_t i = 0; i < sizeof cores / sizeof cores[0]; i++) {
    if (strcmp(cores[i].name, name) == 0) {
      return &cores[i];
    }
  }
  return NULL;
}

static bool is_load(const instruction *i) {
  return i->class == CLASS_LOAD || i->class == CLASS_LOAD_LITERAL || i->class == CLASS_FLOAT_LOAD;
}

static bool is_store(const instruction *i) {
  return i->class == CLASS_STORE_IMMEDIATE || i->class == CLASS_STORE_REGISTER || i->class == CLASS_FLOAT_STORE;
}

static bool addresses(const instruction *i, int reg) {
  return reg >= 0 && (i->base == reg || i->index == reg);
}

static unsigned load_cost(const core_model *core, const instruction *now, const instruction *before) {
  bool pipelined = before && is_load(before) && !addresses(now, before->loaded);
  return pipelined ? core->load_pipelined : core->load;
}

static unsigned multiple_cost(const core_model *core, unsigned registers) {
  unsigned width = core->registers_per_cycle ? core->registers_per_cycle : 1;
  return core->multiple + (registers + width - 1) / width;
}

/* By class, as if the instruction before were independent; then what the two have to do with each other. */
static unsigned single_cost(const core_model *core, const instruction *now, const instruction *before) {
  unsigned cost = 1;
  switch ((instruction_class)now->class) {
  case CLASS_IT:
    return 0; /* folded into the instruction before */
  case CLASS_LOOP_END:
    return 0; /* known after the first time */
  case CLASS_MULTIPLY:
    cost = core->multiply;
    break;
  case CLASS_MULTIPLY_ACCUMULATE:
    cost = core->multiply_accumulate;
    break;
  case CLASS_MULTIPLY_LONG:
    cost = core->multiply_long;
    break;
  case CLASS_DIVIDE:
    cost = core->divide;
    break;
  case CLASS_LOAD:
  case CLASS_FLOAT_LOAD:
    cost = load_cost(core, now, before);
    break;
  case CLASS_LOAD_LITERAL:
    cost = load_cost(core, now, before) + core->literal;
    break;
  case CLASS_STORE_IMMEDIATE:
    cost = core->store;
    break;
  case CLASS_STORE_REGISTER:
    cost = before && is_load(before) ? core->store : core->store_register;
    break;
  case CLASS_FLOAT_STORE:
  case CLASS_EXCLUSIVE:
  case CLASS_TABLE_BRANCH:
  case CLASS_FLOAT_MOVE_DOUBLE:
    cost = 2;
    break;
  case CLASS_LOAD_MULTIPLE:
  case CLASS_STORE_MULTIPLE:
  case CLASS_LOAD_DOUBLE:
  case CLASS_STORE_DOUBLE:
  case CLASS_FLOAT_LOAD_MULTIPLE:
  case CLASS_FLOAT_STORE_MULTIPLE:
    cost = multiple_cost(core, now->registers);
    break;
  case CLASS_FLOAT_LOAD_DOUBLE:
  case CLASS_FLOAT_STORE_DOUBLE:
    cost = multiple_cost(core, 2);
    break;
  case CLASS_FLOAT:
    cost = core->float_simple;
    break;
  case CLASS_FLOAT_MULTIPLY_ACCUMULATE:
    cost = core->float_multiply_accumulate;
    break;
  case CLASS_FLOAT_DIVIDE:
    cost = core->float_divide;
    break;
  default:
    break;
  }
  if (before) {
    if (addresses(now, before->destination) || addresses(now, before->destination_2)) {
      cost += core->address_dependency;
    }
    if (addresses(now, before->loaded)) {
      cost += core->load_use;
    }
    if (is_store(before) && (is_load(now) || is_store(now))) {
      cost += core->after_store;
    }
  }
  return cost;
}

/* Helium: a vector instruction occupies its pipe for vector_beats cycles; the next one may start a cycle later when it
 * uses another pipe. */
static unsigned vector_cost(const core_model *core, unsigned pipe, pipeline_state *state) {
  unsigned wait = state->pipe_busy[pipe];
  unsigned cost = wait + 1;
  for (unsigned p = 0; p < 4; p++) {
    state->pipe_busy[p] = (uint8_t)(state->pipe_busy[p] > cost ? state->pipe_busy[p] - cost : 0);
  }
  state->pipe_busy[pipe] = (uint8_t)(core->vector_beats - 1);
  return cost;
}

static unsigned vector_pipe(const instruction *i) {
  switch ((instruction_class)i->class) {
  case CLASS_VECTOR_LOAD:
  case CLASS_VECTOR_STORE:
    return 1;
  case CLASS_VECTOR_MULTIPLY_ACCUMULATE:
    return 2;
  case CLASS_VECTOR_ALU:
    return 3;
  default:
    return 0;
  }
}

unsigned instruction_cost(const core_model *core, const instruction *now, pipeline_state *state) {
  unsigned cost, pipe = vector_pipe(now);
  if (pipe && core->vector_beats > 1) {
    cost = vector_cost(core, pipe, state);
  } else {
    cost = single_cost(core, now, state->has_before ? &state->before : NULL);
    for (unsigned p = 0; p < 4; p++) {
      state->pipe_busy[p] = (uint8_t)(state->pipe_busy[p] > cost ? state->pipe_busy[p] - cost : 0);
    }
  }
  if (core->issue_width > 1) {
    cost = cost ? dual_issue_cost(core, now, cost, state) : 0;
  }
  state->before = *now;
  state->has_before = true;
  return cost;
}

unsigned refill_cost(const core_model *core, const instruction *branch) {
  switch ((instruction_class)branch->class) {
  case CLASS_LOOP_END:
  case CLASS_LOOP_START:
    return 0; /* the loop's start is buffered */
  case CLASS_CALL:
    return core->refill_call;
  case CLASS_BRANCH:
  case CLASS_BRANCH_CONDITIONAL:
    return core->refill_direct;
  case CLASS_LOAD_MULTIPLE:
  case CLASS_LOAD:
    return core->refill_return;
  default:
    return core->refill_indirect;
  }
}
