#include "sources_thumb2.h"

static unsigned field(uint32_t word, int high, int low) {
  return (word >> low) & ((1u << (high - low + 1)) - 1u);
}

static uint32_t reg(unsigned number) {
  return number < 15 ? 1u << number : 0;
}

/* 0100 00xx: data processing; two of its operations read one register, five of them shift. */
static void find_data_processing16(uint32_t h, instruction *out) {
  unsigned operation = field(h, 9, 6);
  uint32_t low = reg(field(h, 2, 0)), middle = reg(field(h, 5, 3));
  out->sources = operation == 9 || operation == 15 ? middle : low | middle;
  out->shifts = (operation >= 2 && operation <= 4) || operation == 7;
}

/* 1011 xxxx: stack adjust, extend, reverse, compare and branch. */
static void find_miscellaneous16(uint32_t h, instruction *out) {
  if (out->class == CLASS_ALU) {
    bool adjusts = (h & 0xFF00u) == 0xB000u;
    out->sources = adjusts ? reg(13) : reg(field(h, 5, 3));
    out->partial = !adjusts;
    out->early = (h & 0xFF00u) == 0xBA00u ? out->sources : 0;
    out->simple = (h & 0xFF00u) == 0xB200u;
  } else if (out->class == CLASS_BRANCH_CONDITIONAL) {
    out->sources = reg(field(h, 2, 0));
    out->simple = true;
  }
}

void find_sources16(uint32_t h, instruction *out) {
  uint32_t low = reg(field(h, 2, 0)), middle = reg(field(h, 5, 3)), high = reg(field(h, 10, 8));
  bool stores = out->class == CLASS_STORE_IMMEDIATE || out->class == CLASS_STORE_REGISTER;
  switch (h >> 12) {
  case 0x0:
    out->sources = middle;
    out->shifts = true;
    break;
  case 0x1:
    out->sources = middle | ((h & 0x0C00u) == 0x0800u ? reg(field(h, 8, 6)) : 0);
    out->shifts = !(h & 0x0800u);
    out->simple = (h & 0x0C00u) == 0x0C00u;
    break;
  case 0x2:
  case 0x3:
    out->sources = field(h, 12, 11) == 0 ? 0 : high;
    out->simple = field(h, 12, 11) != 1;
    break;
  case 0x4:
    if ((h & 0x0C00u) == 0) {
      find_data_processing16(h, out);
    } else if (!(h & 0x0800u)) {
      uint32_t destination = reg(field(h, 2, 0) | field(h, 7, 7) << 3);
      out->sources = reg(field(h, 6, 3)) | (field(h, 9, 8) < 2 ? destination : 0);
      out->simple = field(h, 9, 8) >= 2;
    }
    break;
  case 0x5:
  case 0x6:
  case 0x7:
  case 0x8:
    out->sources = out->late = stores ? low : 0;
    out->narrow_load = !stores && h >> 12 != 0x6 && (h & 0xFE00u) != 0x5800u;
    break;
  case 0x9:
    out->sources = out->late = stores ? high : 0;
    break;
  case 0xA:
    out->sources = h & 0x0800u ? reg(13) : 0;
    break;
  case 0xB:
    find_miscellaneous16(h, out);
    break;
  case 0xD:
  case 0xE:
    out->simple = true;
    break;
  default:
    break;
  }
}

/* Data processing with an immediate: moves of 16 bits read nothing or what they keep; some work on bit fields. */
static void find_immediate(uint32_t h1, uint32_t h2, instruction *out) {
  bool is_plain = (h1 & 0x0200u) != 0;
  unsigned operation = field(h1, 7, 4);
  out->sources = reg(field(h1, 3, 0));
  if (is_plain && (h1 & 0x0100u)) {
    out->partial = out->shifts = true;
    if (operation == 6) { /* BFI */
      out->sources |= reg(field(h2, 11, 8));
    } else {
      out->early = out->sources;
    }
  } else if (is_plain && operation == 4) { /* MOVW */
    out->sources = 0;
  } else if (is_plain && operation == 12) { /* MOVT */
    out->sources = reg(field(h2, 11, 8));
  }
}

/* Data processing on registers, and the packed arithmetic of the DSP extension. */
static void find_register(uint32_t h1, uint32_t h2, instruction *out) {
  uint32_t first = reg(field(h1, 3, 0)), second = reg(field(h2, 3, 0));
  out->sources = first | second;
  if ((h1 & 0xFE00u) == 0xEA00u) {
    out->shifts = (h2 & 0x70F0u) != 0;
    out->early = out->shifts && first ? second : 0; /* a shift by itself is not early */
  } else if (h1 & 0x0080u) {
    bool reverses = (h1 & 0x00F0u) == 0x0090u && (h2 & 0x00C0u) == 0x0080u;
    out->partial = true;
    out->early = reverses ? out->sources : 0;
  } else if (h2 & 0x0080u) { /* extend, perhaps and add */
    out->partial = true;
    out->early = first ? second : 0;
  } else {
    out->shifts = true;
  }
}

void find_sources32(uint32_t h1, uint32_t h2, instruction *out) {
  uint32_t first = reg(field(h1, 3, 0)), second = reg(field(h2, 3, 0)), last = reg(field(h2, 15, 12));
  uint32_t destination = reg(field(h2, 11, 8));
  switch (out->class) {
  case CLASS_LOAD:
  case CLASS_LOAD_LITERAL:
    out->narrow_load = field(h1, 6, 5) != 2;
    break;
  case CLASS_STORE_IMMEDIATE:
  case CLASS_STORE_REGISTER:
    out->sources = out->late = last;
    break;
  case CLASS_STORE_DOUBLE:
    out->sources = out->late = last | destination;
    break;
  case CLASS_MULTIPLY:
  case CLASS_DIVIDE:
    out->sources = first | second;
    break;
  case CLASS_MULTIPLY_ACCUMULATE:
    out->sources = first | second | last;
    out->late = last & ~(first | second);
    break;
  case CLASS_MULTIPLY_LONG: /* UMULL and SMULL do not accumulate */
    out->late = h1 & 0x0040u ? (last | destination) & ~(first | second) : 0;
    out->sources = first | second | out->late;
    break;
  case CLASS_ALU:
    if ((h1 & 0xF800u) == 0xF000u) {
      find_immediate(h1, h2, out);
    } else if ((h1 & 0xFE00u) == 0xEA00u || (h1 & 0xFF00u) == 0xFA00u) {
      find_register(h1, h2, out);
    }
    break;
  default:
    break;
  }
}
