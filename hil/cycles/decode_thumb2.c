#include "decode.h"
#include "sources_thumb2.h"

static unsigned ones(uint32_t bits) {
  return (unsigned)__builtin_popcount(bits);
}

static unsigned field(uint32_t word, int high, int low) {
  return (word >> low) & ((1u << (high - low + 1)) - 1u);
}

static void load(instruction *out, unsigned target, unsigned base) {
  out->class = CLASS_LOAD;
  out->loaded = (int8_t)target;
  out->base = (int8_t)base;
}

static void alu(instruction *out, unsigned destination) {
  out->class = CLASS_ALU;
  out->destination = (int8_t)destination;
}

static void flow(instruction *out, instruction_class class) {
  out->class = (uint8_t) class;
  out->changes_flow = true;
}

static void multiple(instruction *out, bool is_load, unsigned base, unsigned registers) {
  out->class = is_load ? CLASS_LOAD_MULTIPLE : CLASS_STORE_MULTIPLE;
  out->base = (int8_t)base;
  out->registers = (uint8_t)registers;
}

/* 1011 xxxx: stack adjust, extend, compare and branch, push and pop, reverse, hints. */
static void decode_miscellaneous16(uint32_t h, instruction *out) {
  if ((h & 0xF500u) == 0xB100u) { /* CBZ, CBNZ */
    flow(out, CLASS_BRANCH_CONDITIONAL);
  } else if ((h & 0xFE00u) == 0xB400u) { /* PUSH */
    multiple(out, false, 13, ones(h & 0x1FFu));
  } else if ((h & 0xFE00u) == 0xBC00u) { /* POP */
    multiple(out, true, 13, ones(h & 0x1FFu));
    out->changes_flow = (h & 0x100u) != 0;
  } else if ((h & 0xFF00u) == 0xBF00u) {
    out->class = (h & 0xFu) ? CLASS_IT : CLASS_HINT;
  } else if ((h & 0xFF00u) == 0xBE00u || (h & 0xFFE0u) == 0xB660u) { /* BKPT, CPS */
    out->class = CLASS_SYSTEM;
  } else if ((h & 0xFF00u) == 0xB000u) { /* ADD, SUB on SP */
    alu(out, 13);
  } else if ((h & 0xFF00u) == 0xB200u || (h & 0xFF00u) == 0xBA00u) { /* extend, reverse */
    alu(out, field(h, 2, 0));
  } else {
    out->class = CLASS_UNDEFINED;
  }
}

static void decode_data_processing16(uint32_t h, instruction *out) {
  unsigned operation = field(h, 9, 6);
  bool only_flags = operation == 8 || operation == 10 || operation == 11; /* TST, CMP, CMN */
  alu(out, field(h, 2, 0));
  if (only_flags) {
    out->destination = -1;
  }
  if (operation == 13) {
    out->class = CLASS_MULTIPLY;
  }
}

/* 0100 01xx: ADD, CMP, MOV on all registers, and branches to a register. */
static void decode_special16(uint32_t h, instruction *out) {
  unsigned operation = field(h, 9, 8), destination = field(h, 2, 0) | (field(h, 7, 7) << 3);
  if (operation == 3) {
    flow(out, CLASS_BRANCH_INDIRECT);
    return;
  }
  alu(out, destination);
  if (operation == 2 && destination == field(h, 6, 3) && destination >= 9 && destination <= 12) {
    out->class = CLASS_HINT; /* a register moved to itself: how code for Armv6-M marks */
    out->mark = (int16_t)(0x40 + destination - 9);
  } else if (operation == 1) {
    out->destination = -1;
  } else if (destination == 15) {
    flow(out, CLASS_BRANCH_INDIRECT);
  }
}

static void decode16(uint32_t h, instruction *out) {
  switch (h >> 12) {
  case 0x0:
  case 0x1: /* shift, add, subtract */
    alu(out, field(h, 2, 0));
    break;
  case 0x2:
  case 0x3: /* MOV, CMP, ADD, SUB with an 8-bit immediate */
    alu(out, field(h, 10, 8));
    if (field(h, 12, 11) == 1) {
      out->destination = -1;
    }
    break;
  case 0x4:
    if (h & 0x0800u) {
      load(out, field(h, 10, 8), 15);
      out->class = CLASS_LOAD_LITERAL;
    } else if (h & 0x0400u) {
      decode_special16(h, out);
    } else {
      decode_data_processing16(h, out);
    }
    break;
  case 0x5: /* register offset; operations 0 to 2 store */
    load(out, field(h, 2, 0), field(h, 5, 3));
    out->index = (int8_t)field(h, 8, 6);
    if (field(h, 11, 9) < 3) {
      out->class = CLASS_STORE_REGISTER;
      out->loaded = -1;
    }
    break;
  case 0x6:
  case 0x7:
  case 0x8:
  case 0x9: /* immediate offset; 0x9 on SP */
    if (h >> 12 == 0x9) {
      load(out, field(h, 10, 8), 13);
    } else {
      load(out, field(h, 2, 0), field(h, 5, 3));
    }
    if (!(h & 0x0800u)) {
      out->class = CLASS_STORE_IMMEDIATE;
      out->loaded = -1;
    }
    break;
  case 0xA: /* ADR, ADD to SP */
    alu(out, field(h, 10, 8));
    break;
  case 0xB:
    decode_miscellaneous16(h, out);
    break;
  case 0xC:
    multiple(out, (h & 0x0800u) != 0, field(h, 10, 8), ones(h & 0xFFu));
    break;
  case 0xD:
    if (field(h, 11, 8) == 14) {
      out->class = CLASS_UNDEFINED;
    } else if (field(h, 11, 8) == 15) {
      out->class = CLASS_SYSTEM; /* SVC */
    } else {
      flow(out, CLASS_BRANCH_CONDITIONAL);
    }
    break;
  default:
    flow(out, CLASS_BRANCH);
    break;
  }
}

/* Coprocessor 8 to 15 space: floating point (coprocessors 9 to 11) and MVE (8, 14, 15 and the 1111 forms). */
static void decode_coprocessor_memory(uint32_t h1, uint32_t h2, instruction *out) {
  bool is_load = (h1 & 0x10u) != 0, is_double = field(h2, 11, 8) == 11;
  unsigned coprocessor = field(h2, 11, 8);
  out->base = (int8_t)field(h1, 3, 0);
  if (coprocessor != 10 && coprocessor != 11) {
    out->class = is_load ? CLASS_VECTOR_LOAD : CLASS_VECTOR_STORE;
  } else if ((h1 & 0xFFE0u) == 0xEC40u) { /* VMOV between two core registers and a double */
    out->class = CLASS_FLOAT_MOVE_DOUBLE;
    out->base = -1;
  } else if ((h1 & 0x0120u) == 0x0100u) { /* VLDR, VSTR */
    if (is_load) {
      out->class = is_double ? CLASS_FLOAT_LOAD_DOUBLE : CLASS_FLOAT_LOAD;
    } else {
      out->class = is_double ? CLASS_FLOAT_STORE_DOUBLE : CLASS_FLOAT_STORE;
    }
  } else {
    out->class = is_load ? CLASS_FLOAT_LOAD_MULTIPLE : CLASS_FLOAT_STORE_MULTIPLE;
    out->registers = (uint8_t)field(h2, 7, 0);
  }
}

static void decode_float_arithmetic(uint32_t h1, uint32_t h2, instruction *out) {
  out->class = CLASS_FLOAT;
  if ((h1 & 0xFF00u) != 0xEE00u || (h2 & 0x10u)) {
    return; /* VSEL, VMAXNM, VRINT, and moves */
  }
  switch (field(h1, 7, 4) & 0xBu) {
  case 0x0: /* VMLA, VMLS */
  case 0x1: /* VNMLA, VNMLS */
  case 0x9: /* VFNMA, VFNMS */
  case 0xA: /* VFMA, VFMS */
    out->class = CLASS_FLOAT_MULTIPLY_ACCUMULATE;
    break;
  case 0x8:
    out->class = CLASS_FLOAT_DIVIDE;
    break;
  case 0xB: /* VSQRT among the one-operand forms */
    if (field(h1, 3, 0) == 1 && field(h2, 7, 6) == 3) {
      out->class = CLASS_FLOAT_DIVIDE;
    }
    break;
  default:
    break;
  }
}

static void decode_coprocessor(uint32_t h1, uint32_t h2, instruction *out) {
  unsigned coprocessor = field(h2, 11, 8);
  if ((h1 & 0xEE00u) == 0xEC00u) {
    decode_coprocessor_memory(h1, h2, out);
  } else if (coprocessor >= 9 && coprocessor <= 11) {
    decode_float_arithmetic(h1, h2, out);
  } else if ((h1 & 0xEF80u) == 0xEE80u && coprocessor >= 14 && !(h2 & 0x10u)) {
    out->class = CLASS_VECTOR_MULTIPLY_ACCUMULATE; /* VMLADAV, VMLALDAV, VRMLALDAVH */
  } else {
    out->class = CLASS_VECTOR_ALU;
  }
}

/* Load and store multiple, dual, exclusive, table branch; data processing with a shifted register; coprocessors. */
static void decode32_group1(uint32_t h1, uint32_t h2, instruction *out) {
  bool is_load = (h1 & 0x10u) != 0;
  if ((h1 & 0xFE40u) == 0xE800u) {
    multiple(out, is_load, field(h1, 3, 0), ones(h2));
    out->changes_flow = is_load && (h2 & 0x8000u);
  } else if ((h1 & 0xFE40u) == 0xE840u) {
    if ((h1 & 0xFFF0u) == 0xE8D0u && (h2 & 0xFFE0u) == 0xF000u) {
      flow(out, CLASS_TABLE_BRANCH);
    } else if ((h1 & 0x0120u) == 0) {
      bool is_security = (h1 & 0xFFC0u) == 0xE840u && (h2 & 0xF03Fu) == 0xF000u; /* TT */
      out->class = is_security ? CLASS_SYSTEM : CLASS_EXCLUSIVE;
    } else {
      out->class = is_load ? CLASS_LOAD_DOUBLE : CLASS_STORE_DOUBLE;
      out->base = (int8_t)field(h1, 3, 0);
      out->registers = 2;
    }
  } else if (h1 & 0x0400u) {
    decode_coprocessor(h1, h2, out);
  } else {
    alu(out, field(h2, 11, 8));
  }
}

/* Branches, the low-overhead loops of Armv8.1-M, hints, barriers, system registers. */
static void decode_branch_control(uint32_t h1, uint32_t h2, instruction *out) {
  if ((h2 & 0xD000u) == 0xD000u) {
    flow(out, CLASS_CALL);
  } else if ((h2 & 0xD000u) == 0x9000u) {
    flow(out, CLASS_BRANCH);
  } else if ((h2 & 0xD000u) == 0xC000u) {
    if (h1 == 0xF00Fu && (h2 & 0xF001u) == 0xE001u) {
      out->class = CLASS_ALU; /* LCTP */
    } else if ((h1 & 0xFFCFu) == 0xF00Fu) {
      flow(out, CLASS_LOOP_END);
    } else if ((h2 & 0x0800u) && (h2 & 0xF001u) == 0xE001u) {
      out->class = CLASS_VECTOR_ALU; /* VCTP */
    } else if ((h1 & 0xFF80u) == 0xF000u) {
      out->class = CLASS_LOOP_START;
      out->changes_flow = !(h2 & 0x2000u); /* WLS leaves when the count is zero, DLS never */
    } else {
      out->class = CLASS_ALU;
    }
  } else if (field(h1, 9, 7) != 7) {
    flow(out, CLASS_BRANCH_CONDITIONAL);
  } else if ((h1 & 0xFFF0u) == 0xF3A0u && (h2 & 0xFF00u) == 0x8000u) {
    out->class = CLASS_HINT;
    out->mark = (int16_t)(h2 & 0xFFu);
  } else if ((h1 & 0xFFF0u) == 0xF3B0u) {
    out->class = CLASS_BARRIER;
  } else {
    out->class = CLASS_SYSTEM;
  }
}

/* Single loads and stores, register data processing, multiplies and divides. */
static void decode32_group3(uint32_t h1, uint32_t h2, instruction *out) {
  unsigned base = field(h1, 3, 0);
  bool register_offset = !(h1 & 0x80u) && !(h2 & 0x800u);
  if ((h1 & 0xFF10u) == 0xF800u) {
    out->class = register_offset ? CLASS_STORE_REGISTER : CLASS_STORE_IMMEDIATE;
    out->base = (int8_t)base;
    out->index = register_offset ? (int8_t)field(h2, 3, 0) : -1;
  } else if ((h1 & 0xFE10u) == 0xF810u) {
    unsigned target = field(h2, 15, 12);
    if (target == 15 && field(h1, 6, 5) != 2) { /* PLD, PLI */
      out->class = CLASS_HINT;
      return;
    }
    load(out, target, base);
    out->changes_flow = target == 15;
    if (base == 15) {
      out->class = CLASS_LOAD_LITERAL;
    } else if (register_offset) {
      out->index = (int8_t)field(h2, 3, 0);
    }
  } else if ((h1 & 0xFF00u) == 0xFA00u) {
    alu(out, field(h2, 11, 8));
  } else if ((h1 & 0xFF80u) == 0xFB00u) {
    alu(out, field(h2, 11, 8));
    out->class = field(h2, 15, 12) == 15 ? CLASS_MULTIPLY : CLASS_MULTIPLY_ACCUMULATE;
  } else if ((h1 & 0xFF80u) == 0xFB80u) {
    unsigned operation = field(h1, 6, 4);
    bool divides = (operation == 1 || operation == 3) && (h2 & 0xF0u) == 0xF0u;
    alu(out, field(h2, 11, 8));
    out->class = divides ? CLASS_DIVIDE : CLASS_MULTIPLY_LONG;
    out->destination_2 = divides ? -1 : (int8_t)field(h2, 15, 12);
  } else {
    decode_coprocessor(h1, h2, out);
  }
}

void decode_thumb2(const uint8_t *bytes, instruction *out) {
  uint32_t h1 = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
  *out = (instruction){.size = 2,
                       .registers = 1,
                       .destination = -1,
                       .destination_2 = -1,
                       .loaded = -1,
                       .base = -1,
                       .index = -1,
                       .mark = -1};
  if (h1 < 0xE800u) {
    decode16(h1, out);
    find_sources16(h1, out);
    return;
  }
  uint32_t h2 = (uint32_t)bytes[2] | (uint32_t)bytes[3] << 8;
  out->size = 4;
  switch (field(h1, 12, 11)) {
  case 1:
    decode32_group1(h1, h2, out);
    break;
  case 2:
    if (h2 & 0x8000u) {
      decode_branch_control(h1, h2, out);
    } else {
      alu(out, field(h2, 11, 8));
    }
    break;
  default:
    decode32_group3(h1, h2, out);
    break;
  }
  find_sources32(h1, h2, out);
  /* Compare and test write "register 15": only flags. */
  if (out->class == CLASS_ALU && out->destination == 15) {
    out->destination = -1;
  }
}

const char *const class_names[CLASS_COUNT] = {
    "alu",
    "multiply",
    "multiply_accumulate",
    "multiply_long",
    "divide",
    "load",
    "load_literal",
    "store_immediate",
    "store_register",
    "load_multiple",
    "store_multiple",
    "load_double",
    "store_double",
    "exclusive",
    "table_branch",
    "branch",
    "branch_conditional",
    "call",
    "branch_indirect",
    "it",
    "hint",
    "barrier",
    "system",
    "float",
    "float_multiply_accumulate",
    "float_divide",
    "float_move_double",
    "float_load",
    "float_store",
    "float_load_double",
    "float_store_double",
    "float_load_multiple",
    "float_store_multiple",
    "vector_load",
    "vector_store",
    "vector_multiply_accumulate",
    "vector_alu",
    "loop_start",
    "loop_end",
    "undefined",
};
