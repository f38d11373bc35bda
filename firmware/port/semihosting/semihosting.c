/* Console by semihosting: the program stops at a breakpoint that a debug probe or an emulator takes for a request.
 *
 * Needs a listener: pyOCD (`--semihosting`, console on telnet), OpenOCD (`arm semihosting enable`,
 * `semihosting_redirect tcp`), J-Link, or QEMU (`-semihosting-config`). Without one the first request is a fault. Works
 * on every Cortex-M and RV32 core and needs no clock, pin or driver; every request stops the core for as long as the
 * listener takes, which the counters below do not see.
 *
 * The counter is the core's own: DWT_CYCCNT, or SysTick where that is missing; mcycle on RISC-V. The clocks are what
 * they are after reset: nothing here starts a PLL.
 *
 * Specification: Arm, Semihosting for AArch32 and AArch64; RISC-V Semihosting.
 */
#include <stddef.h>

#include "port.h"

enum { SYS_OPEN = 0x01, SYS_WRITEC = 0x03, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_READC = 0x07 };
enum { OPEN_FOR_READING = 0, OPEN_FOR_WRITING = 4 };
#define NO_HANDLE ((uintptr_t)-1)

/* The request's number in the first argument register, its parameter in the second, its result in the first. */
#if defined(__riscv)
/* The three instructions must lie in one page and be uncompressed to be recognised. */
__asm__(".text\n"
        ".balign 16\n"
        ".option push\n"
        ".option norvc\n"
        ".globl semihosting_request\n"
        "semihosting_request:\n"
        "  slli x0, x0, 0x1f\n"
        "  ebreak\n"
        "  srai x0, x0, 0x7\n"
        "  ret\n"
        ".option pop\n");
uintptr_t semihosting_request(uintptr_t number, uintptr_t parameter);
#else
static uintptr_t semihosting_request(uintptr_t number, uintptr_t parameter) {
  register uintptr_t r0 __asm__("r0") = number;
  register uintptr_t r1 __asm__("r1") = parameter;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}
#endif

/* The listener's console; NO_HANDLE where it has only single characters. */
static uintptr_t input;
static struct {
  uintptr_t handle;
  uint32_t length;
  uint8_t bytes[128];
} output;

static uintptr_t open_console(uintptr_t mode) {
  static const char name[] = ":tt";
  const uintptr_t parameters[3] = {(uintptr_t)name, mode, sizeof name - 1};
  return semihosting_request(SYS_OPEN, (uintptr_t)parameters);
}

static void open_consoles(void) {
  input = open_console(OPEN_FOR_READING);
  output.handle = open_console(OPEN_FOR_WRITING);
}

int port_getc(void) {
  port_flush();
  if (input == NO_HANDLE) {
    return (int)(semihosting_request(SYS_READC, 0) & 0xFFu);
  }
  volatile uint8_t byte = 0;
  const uintptr_t parameters[3] = {input, (uintptr_t)&byte, 1};
  while (semihosting_request(SYS_READ, (uintptr_t)parameters)) {
    /* the answer is the number of bytes that were not read */
  }
  return byte;
}

void port_putc(uint8_t byte) {
  output.bytes[output.length++] = byte;
  if (output.length == sizeof output.bytes || byte == '\n') {
    port_flush();
  }
}

void port_flush(void) {
  if (output.handle == NO_HANDLE) {
    for (uint32_t i = 0; i < output.length; ++i) {
      (void)semihosting_request(SYS_WRITEC, (uintptr_t)(output.bytes + i));
    }
  } else if (output.length) {
    const uintptr_t parameters[3] = {output.handle, (uintptr_t)output.bytes, output.length};
    (void)semihosting_request(SYS_WRITE, (uintptr_t)parameters);
  }
  output.length = 0;
}

uint32_t port_counter_hz(void) {
  return TINYOPT_COUNTER_HZ;
}

uint32_t port_counter_unit(void) {
  return PORT_COUNTS_CLOCK;
}

#if defined(__riscv)

void port_init(void) {
  /* where the core has it, mcountinhibit (0x320) may hold the counter; where it has not, it was never held */
  open_consoles();
}

uint32_t port_counter(void) {
  uint32_t value;
  __asm__ volatile(".option push\n\t.option arch, +zicsr\n\tcsrr %0, mcycle\n\t.option pop" : "=r"(value));
  return value;
}

#else

#include "cycles.h"

#define SYSTICK_CTRL (*(volatile uint32_t *)0xE000E010u)
#define SYSTICK_LOAD (*(volatile uint32_t *)0xE000E014u)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xE000E018u)
#define TICKS 0x01000000u

static volatile uint32_t turns; /* of SysTick, which counts 24 bits; 0 while DWT_CYCCNT is there to count */
static uint8_t has_cycle_counter;

void port_tick(void);

void port_tick(void) {
  ++turns;
}

void port_init(void) {
  open_consoles();
  has_cycle_counter = (uint8_t)cycles_start();
  if (!has_cycle_counter) {
    SYSTICK_LOAD = TICKS - 1u;
    SYSTICK_VALUE = 0;
    SYSTICK_CTRL = 7; /* the core's clock, with an interrupt at every turn: the only one that is ever taken */
    __asm__ volatile("cpsie i" ::: "memory");
  }
}

uint32_t port_counter(void) {
  if (has_cycle_counter) {
    return cycles_now();
  }
  for (;;) {
    uint32_t before = turns;
    uint32_t value = SYSTICK_VALUE;
    if (before == turns) {
      return before * TICKS + (TICKS - 1u - value);
    }
  }
}

#endif
