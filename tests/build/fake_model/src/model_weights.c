#include "model_weights.h"

/* weight of input k for output n: (7 n + 3 k) modulo 11, less 5 */
#define W(n, k) ((7 * (n) + 3 * (k)) % 11 - 5)
#define ROW6(n, k) W(n, k), W(n, k + 1), W(n, k + 2), W(n, k + 3), W(n, k + 4), W(n, k + 5)
#define ROW(n) ROW6(n, 0), ROW6(n, 6), ROW6(n, 12), ROW6(n, 18)

const int8_t model_fake_weights[96] = {ROW(0), ROW(1), ROW(2), ROW(3)};
const int8_t model_unused_weights[1000] = {1};
