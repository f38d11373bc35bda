/* In-order issue of up to two instructions a cycle. Sources: the scheduling models for Cortex-M7 and Cortex-M55 that
 * Arm contributed to LLVM (ARMScheduleM7.td, ARMScheduleM55.td), and for pairs on the M7 Andrew Zonenberg's experiments
 * on STM32H7 silicon. */
#include "cost.h"

static bool is_multiply(const instruction *i) {
  return i->class >= CLASS_MULTIPLY && i->class <= CLASS_DIVIDE;
}

static bool is_memory(const instruction *i) {
  return i->class >= CLASS_LOAD && i->class <= CLASS_EXCLUSIVE;
}

static bool is_plain_load(const instruction *i) {
  return i->class == CLASS_LOAD || i->class == CLASS_LOAD_LITERAL;
}

static bool is_float(const instruction *i) {
  return i->class >= CLASS_FLOAT && i->class <= CLASS_VECTOR_ALU;
}

static bool takes_a_cycle_alone(const instruction *i) {
  return (is_memory(i) && i->registers > 1) || i->class == CLASS_DIVIDE || i->class == CLASS_TABLE_BRANCH ||
         i->class == CLASS_EXCLUSIVE || i->class == CLASS_BARRIER || i->class == CLASS_SYSTEM;
}

/* Whether a younger instruction can share the cycle of the older one, operands aside. On small cores: both have 16 bits
 * and one is simple. Else: there is one multiplier, one shifter and one floating-point unit; two loads go together, a
 * store with no other access; what works on parts of a register only as the older one. */
static bool may_pair(const core_model *core, const instruction *older, const instruction *younger) {
  if (older->changes_flow || takes_a_cycle_alone(older) || takes_a_cycle_alone(younger)) {
    return false;
  }
  if (core->pairs_only_simple) {
    return older->size == 2 && younger->size == 2 && (older->simple || younger->simple);
  }
  bool accesses_collide = is_memory(older) && is_memory(younger) && !(is_plain_load(older) && is_plain_load(younger));
  return !(is_multiply(older) && is_multiply(younger)) && !(older->shifts && younger->shifts) &&
         !(is_float(older) && is_float(younger)) && !accesses_collide && !younger->partial;
}

/* The first cycle that has the operands. */
static uint32_t operands_ready(const core_model *core, const instruction *now, const pipeline_state *state) {
  uint32_t cycle = 0;
  for (unsigned r = 0; r < 16; r++) {
    uint32_t ready = state->ready[r];
    bool addresses = now->base == (int)r || now->index == (int)r;
    if (ready == 0 || !(addresses || (now->sources >> r & 1u))) {
      continue;
    }
    if (addresses || (now->early >> r & 1u)) {
      ready += core->early;
    } else if (now->late >> r & 1u) {
      ready -= core->late < ready ? core->late : ready;
    }
    if (ready > cycle) {
      cycle = ready;
    }
  }
  return cycle;
}

static uint32_t latency_of(const core_model *core, const instruction *now) {
  if (is_multiply(now)) {
    return core->multiply_latency;
  }
  return now->shifts || now->partial ? core->shift_latency : core->alu_latency;
}

static void set_ready(pipeline_state *state, int reg, uint32_t cycle) {
  if (reg >= 0 && reg < 15) {
    state->ready[reg] = cycle;
  }
}

unsigned dual_issue_cost(const core_model *core, const instruction *now, unsigned occupied, pipeline_state *state) {
  uint32_t cycle = operands_ready(core, now, state), before = state->cycle, latency = latency_of(core, now);
  bool pairs =
      occupied <= 1 && state->has_before && !state->paired && cycle <= before && may_pair(core, &state->before, now);
  if (pairs) {
    cycle = before;
  } else if (cycle <= before) {
    cycle = before + 1;
  }
  state->cycle = cycle + occupied - 1;
  set_ready(state, now->destination, state->cycle + latency);
  set_ready(state, now->destination_2, state->cycle + latency);
  set_ready(state, now->loaded, cycle + (now->narrow_load ? core->narrow_load_latency : core->load_latency));
  state->paired = pairs || occupied > 1; /* nothing joins an instruction of several cycles */
  return state->cycle - before;
}
