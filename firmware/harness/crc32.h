#ifndef TINYOPT_CRC32_H
#define TINYOPT_CRC32_H

#include <stdint.h>

/* CRC-32 as in IEEE 802.3 and zlib: start with CRC32_START, feed every byte, invert at the end. */
#define CRC32_START 0xFFFFFFFFu

uint32_t crc32_update(uint32_t crc, uint8_t byte);

#endif
