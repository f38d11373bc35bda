/* Hooks around every layer of a model that is compiled with TINYOPT_PROFILE.
 *
 * The time between begin and end, less what an empty pair takes, is added to the layer's entry of profile_counts.
 */
#ifndef TINYOPT_PROFILE_H
#define TINYOPT_PROFILE_H

#include "port.h"

void profile_begin(void);
void profile_end(unsigned layer);

#define TINYOPT_LAYER_BEGIN(layer)                                                                                     \
  do {                                                                                                                 \
    profile_begin();                                                                                                   \
    PORT_MARK(PORT_MARK_LAYER_BEGIN);                                                                                  \
  } while (0)
#define TINYOPT_LAYER_END(layer)                                                                                       \
  do {                                                                                                                 \
    PORT_MARK(PORT_MARK_LAYER_END);                                                                                    \
    profile_end(layer);                                                                                                \
  } while (0)

#endif
