/* What a memory slower than the core costs: wait states, softened by a read buffer, a prefetch and caches.
 *
 * A memory is read in lines of line_bytes. A read that has to go to the memory takes wait_states cycles more than one
 * that does not. Fetches of instructions keep the line they read last; with prefetch, reading a line starts the read of
 * the next one, which is ready 1 + wait_states cycles later. Caches keep lines, and replace the one unused longest.
 * Without a cache every read of data goes to the memory. Writes cost nothing here: a write buffer is assumed.
 */
#ifndef TINYOPT_MEMORY_H
#define TINYOPT_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

enum { LINE_GUESSES = 1024 };

/* Sets of a few lines each; an entry's use is 0 while it is empty. A guess is the entry that a line was found in last.
 */
typedef struct {
  uint64_t *lines, *used;
  uint64_t sets, ways, clock;
  uint64_t guesses[LINE_GUESSES];
} line_cache;

typedef struct {
  uint64_t start, size;
  uint64_t wait_states, line_bytes;
  bool prefetches;
  line_cache *instructions, *data; /* NULL: none; the same one for both: shared */
  uint64_t fetched;                /* line that was fetched last, or NO_LINE */
  uint64_t coming, ready;          /* line that is being prefetched, or NO_LINE, and the cycle that has it */
} memory;

#define NO_LINE UINT64_MAX

/* Reads a memory from START:SIZE[:WAIT_STATES:LINE:PREFETCH:SHARED:ILINES:IWAYS:DLINES:DWAYS], numbers in C notation:
 * caches in lines (0: none) and ways (0: fully associative); SHARED: the first cache holds data as well. False: wrong.
 */
bool parse_memory(const char *text, memory *out);

static inline bool contains(const memory *m, uint64_t address) {
  return address - m->start < m->size;
}

/* Cycles that the core waits for the line of an instruction at a cycle of the program. */
uint64_t fetch_wait(memory *m, uint64_t line, uint64_t cycle);

/* Cycles that the core waits for data of size bytes. */
uint64_t read_wait(memory *m, uint64_t address, uint64_t size);

#endif
