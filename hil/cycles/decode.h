/* What the cycle model needs to know of one instruction. */
#ifndef TINYOPT_DECODE_H
#define TINYOPT_DECODE_H

#include <stdbool.h>
#include <stdint.h>

/* Classes of instructions that differ in cost. The names, in the same order, are in class_names (decode.c). */
typedef enum {
  CLASS_ALU,
  CLASS_MULTIPLY,
  CLASS_MULTIPLY_ACCUMULATE,
  CLASS_MULTIPLY_LONG,
  CLASS_DIVIDE,
  CLASS_LOAD,
  CLASS_LOAD_LITERAL,
  CLASS_STORE_IMMEDIATE,
  CLASS_STORE_REGISTER,
  CLASS_LOAD_MULTIPLE,
  CLASS_STORE_MULTIPLE,
  CLASS_LOAD_DOUBLE,
  CLASS_STORE_DOUBLE,
  CLASS_EXCLUSIVE,
  CLASS_TABLE_BRANCH,
  CLASS_BRANCH,
  CLASS_BRANCH_CONDITIONAL,
  CLASS_CALL,
  CLASS_BRANCH_INDIRECT,
  CLASS_IT,
  CLASS_HINT,
  CLASS_BARRIER,
  CLASS_SYSTEM,
  CLASS_FLOAT,
  CLASS_FLOAT_MULTIPLY_ACCUMULATE,
  CLASS_FLOAT_DIVIDE,
  CLASS_FLOAT_MOVE_DOUBLE,
  CLASS_FLOAT_LOAD,
  CLASS_FLOAT_STORE,
  CLASS_FLOAT_LOAD_DOUBLE,
  CLASS_FLOAT_STORE_DOUBLE,
  CLASS_FLOAT_LOAD_MULTIPLE,
  CLASS_FLOAT_STORE_MULTIPLE,
  CLASS_VECTOR_LOAD,
  CLASS_VECTOR_STORE,
  CLASS_VECTOR_MULTIPLY_ACCUMULATE,
  CLASS_VECTOR_ALU,
  CLASS_LOOP_START,
  CLASS_LOOP_END,
  CLASS_UNDEFINED,
  CLASS_COUNT
} instruction_class;

extern const char *const class_names[CLASS_COUNT];

/* Registers are numbers 0 to 15 (31 on RISC-V), or -1 for none. */
typedef struct {
  uint8_t size;         /* bytes */
  uint8_t class;        /* instruction_class */
  uint8_t registers;    /* of a multiple load or store */
  int8_t destination;   /* written by arithmetic */
  int8_t destination_2; /* second one of a long multiply */
  int8_t loaded;        /* written by a load */
  int8_t base, index;   /* that an address is made of */
  uint32_t sources;     /* set of registers that are read, those of addresses left out */
  uint32_t early, late; /* of these: shifted before they are used; the sum of a product, the data of a store */
  bool shifts;          /* goes through the shifter */
  bool partial;         /* works on bytes, halfwords or bit fields, saturates, or reverses */
  bool narrow_load;     /* of a byte or a halfword */
  bool simple;          /* 16-bit move, extension, addition of an immediate or branch: pairs on small cores */
  bool changes_flow;    /* may continue elsewhere than at the next instruction */
  int16_t mark;         /* number of a mark (a hint that the measuring firmware executes), or -1 */
} instruction;

/* Decode one Thumb-2 instruction (Armv6-M to Armv8.1-M with MVE) at bytes; reads 2 bytes, or 4 when the first halfword
 * says so. Source: Arm Architecture Reference Manuals for Armv7-M and Armv8-M. */
void decode_thumb2(const uint8_t *bytes, instruction *out);

/* Decode one RISC-V instruction (RV32IMC) at bytes; reads 2 or 4. Source: the RISC-V Instruction Set Manual, volume I.
 */
void decode_riscv(const uint8_t *bytes, instruction *out);

#endif
