#include "memory.h"

#include <stdlib.h>

enum { FIELDS = 10 };

static line_cache *new_cache(uint64_t lines, uint64_t ways) {
  line_cache *cache = calloc(1, sizeof *cache);
  if (!cache) {
    return NULL;
  }
  cache->ways = ways ? ways : lines;
  cache->sets = lines / cache->ways;
  cache->lines = calloc(lines, sizeof *cache->lines);
  cache->used = calloc(lines, sizeof *cache->used);
  return cache->sets && cache->lines && cache->used ? cache : NULL;
}

bool parse_memory(const char *text, memory *out) {
  uint64_t values[FIELDS] = {0};
  unsigned count = 0;
  char *rest;
  for (;;) {
    values[count++] = strtoull(text, &rest, 0);
    if (*rest != ':' || count == FIELDS) {
      break;
    }
    text = rest + 1;
  }
  *out = (memory){.start = values[0],
                  .size = values[1],
                  .wait_states = values[2],
                  .line_bytes = values[3] ? values[3] : 4,
                  .prefetches = values[4] != 0,
                  .fetched = NO_LINE,
                  .coming = NO_LINE};
  if (values[6]) {
    out->instructions = new_cache(values[6], values[7]);
  }
  if (values[5]) {
    out->data = out->instructions;
  } else if (values[8]) {
    out->data = new_cache(values[8], values[9]);
  }
  bool is_power = (out->line_bytes & (out->line_bytes - 1)) == 0;
  return *rest == '\0' && count >= 2 && out->size > 0 && is_power && (!values[6] || out->instructions) &&
         (!values[8] || out->data);
}

/* Whether a line is there; if not it is now, in the place of the one that was unused longest. */
static bool look_up(line_cache *cache, uint64_t line) {
  uint64_t set = line % cache->sets * cache->ways, oldest = set;
  uint64_t *guess = &cache->guesses[line % LINE_GUESSES];
  cache->clock++;
  if (cache->used[*guess] && cache->lines[*guess] == line) {
    cache->used[*guess] = cache->clock;
    return true;
  }
  for (uint64_t i = set; i < set + cache->ways; i++) {
    if (cache->used[i] && cache->lines[i] == line) {
      cache->used[i] = cache->clock;
      *guess = i;
      return true;
    }
    if (cache->used[i] < cache->used[oldest]) {
      oldest = i;
    }
  }
  cache->lines[oldest] = line;
  cache->used[oldest] = cache->clock;
  *guess = oldest;
  return false;
}

uint64_t fetch_wait(memory *m, uint64_t line, uint64_t cycle) {
  uint64_t wait = m->wait_states;
  if (line == m->fetched) {
    return 0;
  }
  m->fetched = line;
  if (m->instructions && look_up(m->instructions, line)) {
    return 0;
  }
  if (m->prefetches) {
    if (line == m->coming) {
      wait = m->ready > cycle ? m->ready - cycle : 0;
    }
    m->coming = line + 1;
    m->ready = cycle + wait + 1 + m->wait_states;
  }
  return wait;
}

uint64_t read_wait(memory *m, uint64_t address, uint64_t size) {
  uint64_t wait = 0;
  for (uint64_t line = address / m->line_bytes; line <= (address + size - 1) / m->line_bytes; line++) {
    if (!m->data || !look_up(m->data, line)) {
      wait += m->wait_states;
    }
  }
  return wait;
}
