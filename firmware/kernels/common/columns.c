#include "columns.h"

/* Where words may lie anywhere, runs are moved by words, else by bytes. Longer runs are worth a call of memcpy each,
 * and so are few. */
#if defined(__ARM_FEATURE_UNALIGNED) || defined(__x86_64__) || defined(__aarch64__)
enum { PART = 4, SHORT_RUN = 32 };
#else
enum { PART = 1, SHORT_RUN = 7 };
#endif

/* One part of every run. Of a known size, it is moved by loads and stores; four in turn take half the time of one. */
static inline void copy_parts(uint8_t *restrict out, ptrdiff_t step, const uint8_t *restrict in, ptrdiff_t stride,
                              int32_t count, size_t size) {
  for (; count >= 4; count -= 4) {
    uint32_t part[4] = {0};
    memcpy(&part[0], in, size);
    memcpy(&part[1], in + stride, size);
    in += 2 * stride;
    memcpy(&part[2], in, size);
    memcpy(&part[3], in + stride, size);
    in += 2 * stride;
    memcpy(out, &part[0], size);
    memcpy(out + step, &part[1], size);
    out += 2 * step;
    memcpy(out, &part[2], size);
    memcpy(out + step, &part[3], size);
    out += 2 * step;
  }
  for (; count > 0; count--, in += stride, out += step) {
    memcpy(out, in, size);
  }
}

void tinyopt_copy_column(uint8_t *out, ptrdiff_t step, const uint8_t *in, ptrdiff_t stride, int32_t count,
                         int32_t run) {
  if (run > SHORT_RUN || run > PART * count) {
    for (; count > 0; count--, in += stride, out += step) {
      memcpy(out, in, (size_t)run);
    }
    return;
  }
  for (; PART == 4 && run >= 4; run -= 4, in += 4, out += 4) {
    copy_parts(out, step, in, stride, count, 4);
  }
  if (PART == 4 && run >= 2) {
    copy_parts(out, step, in, stride, count, 2);
    run -= 2;
    in += 2;
    out += 2;
  }
  for (; run > 0; run--, in++, out++) {
    copy_parts(out, step, in, stride, count, 1);
  }
}
