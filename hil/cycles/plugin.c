/* A QEMU plugin that counts instructions and estimates cycles.
 *
 * Every instruction is decoded once, when QEMU translates its block; the block's cost is added when it runs, and a
 * refill where it was not entered from the instruction before. The measuring firmware marks regions with hint
 * instructions that a real core executes as no-operations (Arm: 32-bit NOP hints, on Armv6-M MOV of r9 to r12 to
 * itself; RISC-V: SLTI x0, x0, n):
 *
 *   0x40 begin of an inference    0x41 its end    0x42 begin of a layer    0x43 its end
 *
 * From a layer's end to the next layer's begin nothing is counted: that is the profiling code. Marks cost nothing. One
 * JSON line per inference goes to the output file:
 *
 *   {"total":C,"layers":[C,...]}
 *   C: [instructions,cycles,of these waiting for memories,[bytes read per memory...],[bytes written per memory...]]
 *
 * Arguments: core=NAME (see cost.c), out=FILE, memory=START:SIZE:… (see memory.h; up to 32; counts the bytes that loads
 * and stores move from and to each, and the cycles that its wait states take; fetches of instructions are not data).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost.h"
#include "memory.h"
#include "qemu_plugin_api.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;
QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

enum { MARK_RUN_BEGIN = 0x40, MARK_RUN_END, MARK_LAYER_BEGIN, MARK_LAYER_END };
enum { MAX_LAYERS = 4096, MAX_MEMORIES = 32 };

/* What a block takes. */
typedef struct {
  uint64_t instructions, cycles;
} counts;

/* What a stretch of the program took; bytes are those of data. */
typedef struct {
  counts run;
  uint64_t waited; /* cycles, besides those of run */
  uint64_t read[MAX_MEMORIES], written[MAX_MEMORIES];
} totals;

/* A line of a slow memory that a block fetches, how many cycles of the block lie before, and how many the core waited
 * for it when the block ran last. */
typedef struct {
  uint64_t line, cycle, waited;
} fetch;

/* A translated block: what it costs, and what its last instruction costs when it leaves straight-line code. */
typedef struct {
  uint64_t start, end;
  counts total;
  unsigned refill, entry; /* entry: extra cycles when a branch lands here */
  bool conditional;       /* ends with a branch that is predicted */
  uint8_t taken_lately;   /* two-bit counter of the prediction: taken from 2 on */
  memory *code;           /* that it lies in; NULL where fetches take no wait states */
  fetch *fetches;
  size_t fetch_count;
} block;

/* A mark inside a block: the part of the block's cost that lies behind it was charged already, and is taken back. */
typedef struct {
  int16_t mark;
  counts behind;
  const block *in;
  size_t fetches; /* of the block that lie before */
} marker;

static const core_model *core;
static FILE *output;
static totals now;
static block *previous;
static memory memories[MAX_MEMORIES];
static unsigned memory_count;

static bool in_run;
static totals run_start, run_total, layer_start;
static totals layers[MAX_LAYERS];
static unsigned layer_count;

static counts minus(counts a, counts b) {
  return (counts){a.instructions - b.instructions, a.cycles - b.cycles};
}

/* sum += to - from */
static void add_stretch(totals *sum, const totals *from, const totals *to) {
  sum->run.instructions += to->run.instructions - from->run.instructions;
  sum->run.cycles += to->run.cycles - from->run.cycles;
  sum->waited += to->waited - from->waited;
  for (unsigned i = 0; i < memory_count; i++) {
    sum->read[i] += to->read[i] - from->read[i];
    sum->written[i] += to->written[i] - from->written[i];
  }
}

static void write_list(const uint64_t *values) {
  fputc('[', output);
  for (unsigned i = 0; i < memory_count; i++) {
    fprintf(output, "%s%llu", i ? "," : "", (unsigned long long)values[i]);
  }
  fputc(']', output);
}

static void write_totals(const totals *t) {
  fprintf(output, "[%llu,%llu,%llu,", (unsigned long long)t->run.instructions,
          (unsigned long long)(t->run.cycles + t->waited), (unsigned long long)t->waited);
  write_list(t->read);
  fputc(',', output);
  write_list(t->written);
  fputc(']', output);
}

static void write_run(void) {
  fputs("{\"total\":", output);
  write_totals(&run_total);
  fputs(",\"layers\":[", output);
  for (unsigned i = 0; i < layer_count; i++) {
    if (i) {
      fputc(',', output);
    }
    write_totals(&layers[i]);
  }
  fputs("]}\n", output);
  fflush(output);
}

static void on_mark(unsigned int vcpu, void *userdata) {
  const marker *m = userdata;
  totals here = now;
  here.run = minus(now.run, m->behind);
  for (size_t i = m->fetches; i < m->in->fetch_count; i++) {
    here.waited -= m->in->fetches[i].waited;
  }
  (void)vcpu;
  switch (m->mark) {
  case MARK_RUN_BEGIN:
    in_run = true;
    layer_count = 0;
    run_total = (totals){0};
    run_start = here;
    break;
  case MARK_LAYER_BEGIN:
    layer_start = run_start = here;
    break;
  case MARK_LAYER_END:
    if (in_run && layer_count < MAX_LAYERS) {
      layers[layer_count] = (totals){0};
      add_stretch(&layers[layer_count++], &layer_start, &here);
    }
    add_stretch(&run_total, &run_start, &here);
    run_start = here;
    break;
  case MARK_RUN_END:
    if (in_run) {
      if (layer_count == 0) { /* built without layer marks: everything between begin and end */
        run_total = (totals){0};
        add_stretch(&run_total, &run_start, &here);
      }
      write_run();
    }
    in_run = false;
    break;
  default:
    break;
  }
}

static void fetch_lines(const block *b) {
  for (size_t i = 0; i < b->fetch_count; i++) {
    fetch *f = &b->fetches[i];
    f->waited = fetch_wait(b->code, f->line, now.run.cycles + now.waited + f->cycle);
    now.waited += f->waited;
  }
}

/* Two-bit prediction, one counter a branch, however many branches there are. */
static void predict(block *b, bool taken) {
  if (taken != (b->taken_lately >= 2)) {
    now.run.cycles += core->mispredicted;
  }
  if (taken && b->taken_lately < 3) {
    b->taken_lately++;
  } else if (!taken && b->taken_lately > 0) {
    b->taken_lately--;
  }
}

static void on_block(unsigned int vcpu, void *userdata) {
  block *b = userdata;
  bool taken = previous && b->start != previous->end;
  (void)vcpu;
  if (taken) {
    now.run.cycles += previous->refill + b->entry;
  }
  if (previous && previous->conditional) {
    predict(previous, taken);
  }
  if (b->fetch_count) {
    fetch_lines(b);
  }
  now.run.instructions += b->total.instructions;
  now.run.cycles += b->total.cycles;
  previous = b;
}

static void on_memory(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *userdata) {
  (void)vcpu;
  (void)userdata;
  uint64_t size = (uint64_t)1 << qemu_plugin_mem_size_shift(info);
  for (unsigned i = 0; i < memory_count; i++) {
    if (contains(&memories[i], address)) {
      if (qemu_plugin_mem_is_store(info)) {
        now.written[i] += size;
      } else {
        now.read[i] += size;
        if (memories[i].wait_states) {
          now.waited += read_wait(&memories[i], address, size);
        }
      }
      return;
    }
  }
}

static void read_bytes(const struct qemu_plugin_insn *insn, uint8_t bytes[4]) {
  size_t size = qemu_plugin_insn_size(insn);
  memset(bytes, 0, 4);
#if QEMU_PLUGIN_VERSION >= 3
  qemu_plugin_insn_data(insn, bytes, size > 4 ? 4 : size);
#else
  memcpy(bytes, qemu_plugin_insn_data(insn), size > 4 ? 4 : size);
#endif
}

static void *allocate(size_t size) {
  void *memory = calloc(1, size);
  if (!memory) {
    fprintf(stderr, "tinyopt cycle model: out of memory\n");
    exit(1);
  }
  return memory;
}

static memory *slow_memory_at(uint64_t address) {
  for (unsigned i = 0; i < memory_count; i++) {
    if (contains(&memories[i], address)) {
      return memories[i].wait_states ? &memories[i] : NULL;
    }
  }
  return NULL;
}

/* Notes the lines that an instruction adds to those its block has fetched. */
static void add_fetches(block *b, uint64_t address, unsigned size) {
  uint64_t line = address / b->code->line_bytes, last = (address + size - 1) / b->code->line_bytes;
  for (; line <= last; line++) {
    if (b->fetch_count == 0 || b->fetches[b->fetch_count - 1].line < line) {
      b->fetches[b->fetch_count++] = (fetch){line, b->total.cycles, 0};
    }
  }
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  size_t count = qemu_plugin_tb_n_insns(tb);
  block *b = allocate(sizeof *b);
  marker **marks = allocate(count * sizeof *marks);
  size_t mark_count = 0;
  pipeline_state state = {0};
  instruction i = {0};
  (void)id;
  b->start = b->end = qemu_plugin_tb_vaddr(tb);
  b->code = slow_memory_at(b->start);
  if (b->code) {
    b->fetches = allocate(2 * count * sizeof *b->fetches);
  }
  for (size_t k = 0; k < count; k++) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, k);
    uint8_t bytes[4];
    read_bytes(insn, bytes);
    if (core->is_riscv) {
      decode_riscv(bytes, &i);
    } else {
      decode_thumb2(bytes, &i);
    }
    if (k == 0 && i.size == 4 && (b->start & 2u)) {
      b->entry = core->unaligned_target;
    }
    b->end += i.size;
    if (b->code) {
      add_fetches(b, b->end - i.size, i.size);
    }
    if (i.mark >= MARK_RUN_BEGIN && i.mark <= MARK_LAYER_END) {
      marker *m = allocate(sizeof *m);
      m->mark = i.mark;
      m->behind = b->total; /* what lies before; turned round below, when the block's total is known */
      m->in = b;
      m->fetches = b->fetch_count;
      marks[mark_count++] = m;
      qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, QEMU_PLUGIN_CB_NO_REGS, m);
      continue;
    }
    b->total.instructions++;
    b->total.cycles += instruction_cost(core, &i, &state);
    if (memory_count) {
      qemu_plugin_register_vcpu_mem_cb(insn, on_memory, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
    }
  }
  for (size_t k = 0; k < mark_count; k++) {
    marks[k]->behind = minus(b->total, marks[k]->behind);
  }
  free(marks);
  b->refill = refill_cost(core, &i);
  b->conditional = core->mispredicted && i.class == CLASS_BRANCH_CONDITIONAL;
  b->taken_lately = 1;
  qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, b);
}

static void on_exit(qemu_plugin_id_t id, void *userdata) {
  (void)id;
  (void)userdata;
  fclose(output);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
  (void)info;
  for (int k = 0; k < argc; k++) {
    bool good = false;
    if (strncmp(argv[k], "core=", 5) == 0) {
      core = find_core(argv[k] + 5);
      good = core != NULL;
    } else if (strncmp(argv[k], "out=", 4) == 0) {
      output = fopen(argv[k] + 4, "w");
      good = output != NULL;
    } else if (strncmp(argv[k], "memory=", 7) == 0) {
      good = memory_count < MAX_MEMORIES && parse_memory(argv[k] + 7, &memories[memory_count++]);
    }
    if (!good) {
      fprintf(stderr, "tinyopt cycle model: cannot use the argument '%s'\n", argv[k]);
      return -1;
    }
  }
  if (!core || !output) {
    fprintf(stderr, "tinyopt cycle model: core=NAME and out=FILE are needed\n");
    return -1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_exit, NULL);
  return 0;
}
