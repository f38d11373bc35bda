#include "huffman.h"

void tinyopt_huffman_open(tinyopt_huffman *reader, const int8_t *stream) {
  const uint8_t *bytes = (const uint8_t *)stream;
  int32_t values = bytes[0] + 1;
  int32_t code = 0;
  int32_t index = 0;
  reader->limits[0] = 0;
  reader->bases[0] = 0;
  for (int32_t length = 1; length <= TINYOPT_HUFFMAN_BITS; ++length) {
    int32_t count = bytes[2 * length - 1] | bytes[2 * length] << 8;
    code *= 2;
    reader->bases[length] = (int16_t)(index - code);
    index += count;
    code += count;
    reader->limits[length] = (uint16_t)(code << (TINYOPT_HUFFMAN_BITS - length));
  }
  reader->values = stream + 1 + 2 * TINYOPT_HUFFMAN_BITS;
  reader->next = (const uint8_t *)reader->values + values;
  reader->window = 0;
  reader->bits = 0;
}

void tinyopt_huffman_read(tinyopt_huffman *reader, int8_t *to, int32_t count) {
  const int8_t *values = reader->values;
  const uint8_t *next = reader->next;
  uint32_t window = reader->window;
  int32_t bits = reader->bits;
  for (const int8_t *end = to + count; to != end; ++to) {
    for (; bits < TINYOPT_HUFFMAN_BITS; bits += 8) {
      window |= (uint32_t)*next++ << (24 - bits);
    }
    uint32_t code = window >> (32 - TINYOPT_HUFFMAN_BITS);
    int32_t length = 1;
    while (code >= reader->limits[length]) {
      ++length;
    }
    *to = values[reader->bases[length] + (int32_t)(code >> (TINYOPT_HUFFMAN_BITS - length))];
    window <<= length;
    bits -= length;
  }
  reader->next = next;
  reader->window = window;
  reader->bits = bits;
}
