/* Cycles of one instruction on a core. The tables say what was measured or documented, and where. */
#ifndef TINYOPT_COST_H
#define TINYOPT_COST_H

#include "decode.h"

/* Costs of a core, in cycles. A refill is added to a branch that is taken. */
typedef struct {
  const char *name;
  bool is_riscv;
  uint8_t load;               /* a load by itself */
  uint8_t load_pipelined;     /* a load right after another load, not depending on it */
  uint8_t store;              /* immediate offset */
  uint8_t store_register;     /* register offset */
  uint8_t after_store;        /* extra of a load or store right after a store */
  uint8_t literal;            /* extra of a load relative to the program counter */
  uint8_t address_dependency; /* extra when an address register was written by the instruction before */
  uint8_t load_use;           /* extra when the instruction before loaded an operand of this one's address or sum */
  uint8_t multiple;           /* of a multiple load or store, besides one per register */
  uint8_t multiply, multiply_accumulate, multiply_long, divide;
  uint8_t refill_direct, refill_indirect, refill_return, refill_call;
  uint8_t unaligned_target; /* extra when a branch lands on a 4-byte instruction that is not 4-byte aligned */
  uint8_t float_simple, float_multiply_accumulate, float_divide;
  uint8_t registers_per_cycle; /* of a multiple or double load or store */
  uint8_t issue_width;         /* 2: neighbours may issue together; what follows is for such cores */
  bool pairs_only_simple;      /* neighbours pair when both have 16 bits and one is simple */
  uint8_t alu_latency, shift_latency, load_latency, narrow_load_latency, multiply_latency; /* until a result is used */
  uint8_t early, late; /* cycles that addresses and early operands must be there before, late ones may be there after */
  uint8_t
      mispredicted; /* extra of a branch that goes the way it was not predicted; 0: no prediction, refills instead */
  uint8_t vector_beats; /* cycles a vector instruction occupies its pipe */
} core_model;

/* The core's table by name (m0, m0plus, m3, m4, m7, m33, m55, rv32), or NULL. */
const core_model *find_core(const char *name);

/* What the cost of the next instruction depends on. */
typedef struct {
  instruction before;
  bool has_before;
  bool paired;          /* before was issued together with the one before it */
  uint32_t cycle;       /* in which before was issued, and the last one that it takes */
  uint32_t ready[16];   /* first cycle that can use a register */
  uint8_t pipe_busy[4]; /* cycles until a vector pipe takes the next instruction */
} pipeline_state;

/* Cycles of an instruction in straight-line code, refills excluded; updates the state. */
unsigned instruction_cost(const core_model *core, const instruction *now, pipeline_state *state);

/* The same of a core that issues two instructions in a cycle. */
unsigned dual_issue_cost(const core_model *core, const instruction *now, unsigned occupied, pipeline_state *state);

/* Extra cycles when the branch leaves straight-line code. */
unsigned refill_cost(const core_model *core, const instruction *branch);

#endif
