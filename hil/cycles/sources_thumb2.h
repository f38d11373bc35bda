/* Which registers a Thumb-2 instruction reads, for cores that issue two at a time. */
#ifndef TINYOPT_SOURCES_THUMB2_H
#define TINYOPT_SOURCES_THUMB2_H

#include "decode.h"

/* Fill in sources, early to simple of a decoded instruction of 16 bits, or of 32 (first and second halfword).
 * Registers of addresses are in base and index; those of floating point and vectors are not followed. */
void find_sources16(uint32_t h, instruction *out);
void find_sources32(uint32_t h1, uint32_t h2, instruction *out);

#endif
