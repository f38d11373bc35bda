/* Reset, trap report of RV32 cores in machine mode. */
#include "memory.h"
#include "port.h"

void port_report_trap(uint32_t cause, uint32_t pc, uint32_t value, uint32_t ra) __attribute__((noreturn));

/* zicsr is named here, and not in the board's flags, because C libraries are not built for an architecture string
 * that has it */
__asm__(".section .vectors, \"ax\"\n"
        ".option push\n"
        ".option arch, +zicsr\n"
        ".globl port_reset\n"
        "port_reset:\n"
        "  csrw mie, zero\n"
        "  la t0, port_trap\n"
        "  csrw mtvec, t0\n"
        ".option push\n"
        ".option norelax\n"
        "  la gp, port_global_pointer\n"
        ".option pop\n"
        "  la sp, port_stack_top\n"
        "  tail port_enter_main\n"
        ".balign 4\n"
        "port_trap:\n"
        "  csrr a0, mcause\n"
        "  csrr a1, mepc\n"
        "  csrr a2, mtval\n"
        "  mv a3, ra\n"
        "  tail port_report_trap\n"
        ".option pop\n"
        ".text\n");

static void put_text(const char *text) {
  while (*text) {
    port_putc((uint8_t)*text++);
  }
}

static void put_hex(const char *name, uint32_t value) {
  put_text(name);
  for (int shift = 28; shift >= 0; shift -= 4) {
    port_putc((uint8_t) "0123456789abcdef"[(value >> shift) & 15u]);
  }
}

void port_report_trap(uint32_t cause, uint32_t pc, uint32_t value, uint32_t ra) {
  put_hex("\r\ne-[fault ", cause);
  put_hex(" pc ", pc);
  put_hex(" lr ", ra);
  put_hex(" mtval ", value);
  put_text("]\r\n");
  for (;;) {
    __asm__ volatile("wfi");
  }
}
