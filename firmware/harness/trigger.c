#include "trigger.h"

#include "port.h"

static uint32_t edges;

void trigger_edge(void) {
  ++edges;
#if defined(TINYOPT_TIMESTAMP_PIN)
  port_timestamp_pin();
#endif
}

uint32_t trigger_edges(void) {
  return edges;
}
