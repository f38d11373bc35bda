#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include <stdint.h>

extern const int8_t model_fake_weights[96];
extern const int8_t model_unused_weights[1000];

#endif
