#include "decode.h"

static unsigned field(uint32_t word, int high, int low) {
  return (word >> low) & ((1u << (high - low + 1)) - 1u);
}

static void flow(instruction *out, instruction_class class) {
  out->class = (uint8_t) class;
  out->changes_flow = true;
}

static void load(instruction *out, unsigned target, unsigned base) {
  out->class = CLASS_LOAD;
  out->loaded = (int8_t)target;
  out->base = (int8_t)base;
}

static void store(instruction *out, unsigned base) {
  out->class = CLASS_STORE_IMMEDIATE;
  out->base = (int8_t)base;
}

static void alu(instruction *out, unsigned destination) {
  out->class = CLASS_ALU;
  out->destination = destination ? (int8_t)destination : -1;
}

static void decode_quadrant0(uint32_t h, instruction *out) {
  unsigned low = field(h, 4, 2) + 8, high = field(h, 9, 7) + 8;
  switch (field(h, 15, 13)) {
  case 0: /* C.ADDI4SPN */
    alu(out, low);
    break;
  case 2: /* C.LW */
    load(out, low, high);
    break;
  case 6: /* C.SW */
    store(out, high);
    break;
  default:
    out->class = CLASS_UNDEFINED;
    break;
  }
}

static void decode_quadrant1(uint32_t h, instruction *out) {
  switch (field(h, 15, 13)) {
  case 1: /* C.JAL */
    flow(out, CLASS_CALL);
    break;
  case 4: /* C.SRLI, C.SRAI, C.ANDI, C.SUB, … */
    alu(out, field(h, 9, 7) + 8);
    break;
  case 5: /* C.J */
    flow(out, CLASS_BRANCH);
    break;
  case 6:
  case 7: /* C.BEQZ, C.BNEZ */
    flow(out, CLASS_BRANCH_CONDITIONAL);
    break;
  default: /* C.ADDI, C.LI, C.LUI, C.ADDI16SP */
    alu(out, field(h, 11, 7));
    break;
  }
}

static void decode_quadrant2(uint32_t h, instruction *out) {
  unsigned target = field(h, 11, 7);
  switch (field(h, 15, 13)) {
  case 0: /* C.SLLI */
    alu(out, target);
    break;
  case 2: /* C.LWSP */
    load(out, target, 2);
    break;
  case 4:
    if (field(h, 6, 2) != 0) { /* C.MV, C.ADD */
      alu(out, target);
    } else if (target == 0) {
      out->class = CLASS_SYSTEM; /* C.EBREAK */
    } else {
      flow(out, CLASS_BRANCH_INDIRECT); /* C.JR, C.JALR */
    }
    break;
  case 6: /* C.SWSP */
    store(out, 2);
    break;
  default:
    out->class = CLASS_UNDEFINED;
    break;
  }
}

static void decode32(uint32_t word, instruction *out) {
  unsigned target = field(word, 11, 7), source = field(word, 19, 15);
  switch (field(word, 6, 0)) {
  case 0x03:
    load(out, target, source);
    break;
  case 0x23:
    store(out, source);
    break;
  case 0x13:
    alu(out, target);
    if (field(word, 14, 12) == 2 && target == 0 && source == 0) { /* SLTI x0, x0, n: a hint that marks */
      out->class = CLASS_HINT;
      out->mark = (int16_t)field(word, 31, 20);
    }
    break;
  case 0x17: /* AUIPC */
  case 0x37: /* LUI */
    alu(out, target);
    break;
  case 0x33:
    alu(out, target);
    if (field(word, 31, 25) == 1) {
      out->class = field(word, 14, 12) < 4 ? CLASS_MULTIPLY : CLASS_DIVIDE;
    }
    break;
  case 0x63:
    flow(out, CLASS_BRANCH_CONDITIONAL);
    break;
  case 0x67: /* JALR */
    flow(out, CLASS_BRANCH_INDIRECT);
    break;
  case 0x6F: /* JAL */
    flow(out, target ? CLASS_CALL : CLASS_BRANCH);
    break;
  case 0x0F:
    out->class = CLASS_BARRIER;
    break;
  case 0x73:
    out->class = CLASS_SYSTEM;
    break;
  default:
    out->class = CLASS_UNDEFINED;
    break;
  }
}

void decode_riscv(const uint8_t *bytes, instruction *out) {
  uint32_t h = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
  *out = (instruction){.size = 2,
                       .registers = 1,
                       .destination = -1,
                       .destination_2 = -1,
                       .loaded = -1,
                       .base = -1,
                       .index = -1,
                       .mark = -1};
  switch (h & 3u) {
  case 0:
    decode_quadrant0(h, out);
    break;
  case 1:
    decode_quadrant1(h, out);
    break;
  case 2:
    decode_quadrant2(h, out);
    break;
  default:
    out->size = 4;
    decode32(h | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24, out);
    break;
  }
}
