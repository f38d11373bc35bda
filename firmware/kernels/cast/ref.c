#include "cast.h"

static const uint8_t element_size[] = {4, 1, 1, 2, 4, 8, 1};

static int64_t load(int32_t type, const uint8_t *at) {
  int16_t s16;
  int32_t s32;
  int64_t s64;
  switch (type) {
  case TINYOPT_S8:
    return (int8_t)*at;
  case TINYOPT_S16:
    memcpy(&s16, at, sizeof s16);
    return s16;
  case TINYOPT_S32:
    memcpy(&s32, at, sizeof s32);
    return s32;
  case TINYOPT_S64:
    memcpy(&s64, at, sizeof s64);
    return s64;
  default:
    return *at;
  }
}

static void store(int32_t type, uint8_t *at, int64_t value) {
  uint16_t u16 = (uint16_t)value;
  uint32_t u32 = (uint32_t)value;
  switch (type) {
  case TINYOPT_S16:
    memcpy(at, &u16, sizeof u16);
    break;
  case TINYOPT_S32:
    memcpy(at, &u32, sizeof u32);
    break;
  case TINYOPT_S64:
    memcpy(at, &value, sizeof value);
    break;
  case TINYOPT_BOOL:
    *at = value != 0;
    break;
  default:
    *at = (uint8_t)value;
    break;
  }
}

/* Truncated towards zero and saturated to an integer type. */
static int64_t truncated(int32_t type, float value) {
  if (type == TINYOPT_BOOL) {
    return value != 0.0f;
  }
  if (type == TINYOPT_U8) {
    return value >= 255.0f ? 255 : (value > 0.0f ? (int64_t)value : 0);
  }
  int bits = 8 * element_size[type] - 1;
  float limit = (float)((uint64_t)1 << bits);
  int64_t highest = (int64_t)(((uint64_t)1 << bits) - 1);
  if (value >= limit) {
    return highest;
  }
  if (value <= -limit) {
    return -highest - 1;
  }
  return value == value ? (int64_t)value : 0;
}

void tinyopt_cast_ref(const tinyopt_cast *op, const void *input, void *output) {
  const uint8_t *source = input;
  uint8_t *target = output;
  for (int32_t i = 0; i < op->size; ++i) {
    float real;
    if (op->from == TINYOPT_F32) {
      memcpy(&real, source, sizeof real);
    } else {
      real = op->to == TINYOPT_F32 ? (float)load(op->from, source) : 0.0f;
    }
    if (op->to == TINYOPT_F32) {
      memcpy(target, &real, sizeof real);
    } else {
      store(op->to, target, op->from == TINYOPT_F32 ? truncated(op->to, real) : load(op->from, source));
    }
    source += element_size[op->from];
    target += element_size[op->to];
  }
}
