/* The trigger: a falling edge on a pin, by which a meter or another board sees where a measured span begins and ends.
 *
 * A port that drives a pin is told which by TINYOPT_TIMESTAMP_PIN. Without it edges are only counted.
 */
#ifndef TINYOPT_TRIGGER_H
#define TINYOPT_TRIGGER_H

#include <stdint.h>

void trigger_edge(void);

/* Edges since the start. */
uint32_t trigger_edges(void);

#endif
