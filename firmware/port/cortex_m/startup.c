/* Reset, vector table and fault report of Armv6-M, Armv7-M and Armv8-M cores. */
#include "memory.h"
#include "port.h"

#define SCB_VTOR (*(volatile uint32_t *)0xE000ED08u)
#define SCB_CCR (*(volatile uint32_t *)0xE000ED14u)
#define SCB_CFSR (*(volatile uint32_t *)0xE000ED28u)
#define SCB_BFAR (*(volatile uint32_t *)0xE000ED38u)
#define SCB_CPACR (*(volatile uint32_t *)0xE000ED88u)

void port_reset(void);
void port_fault(void);
void port_tick(void) __attribute__((weak, alias("port_fault")));
void port_report_fault(const uint32_t *frame) __attribute__((noreturn));

typedef void (*vector)(void);

/* The first word is the stack pointer. No interrupt line is ever enabled to be taken, so the system exceptions are all
 * there is. */
__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    (vector)(uintptr_t)port_stack_top,
    port_reset, /* reset */
    port_fault, /* NMI */
    port_fault, /* hard fault */
    port_fault, /* memory management fault */
    port_fault, /* bus fault */
    port_fault, /* usage fault */
    port_fault, /* secure fault */
    0,
    0,
    0,
    port_fault, /* SVCall */
    port_fault, /* debug monitor */
    0,
    port_fault, /* PendSV */
    port_tick,  /* SysTick: a port that counts with it defines port_tick() */
};

void port_reset(void) {
  __asm__ volatile("cpsid i" ::: "memory");
#if !defined(__ARM_ARCH_6M__)
  SCB_VTOR = (uint32_t)(uintptr_t)vectors;
#endif
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  /* before the first loop: the compiler may vectorise it */
  SCB_CPACR |= 0xFu << 20;
  __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
#if !defined(__ARM_FEATURE_UNALIGNED)
  /* code that was compiled for a core without unaligned access faults on one that has it, too */
  SCB_CCR |= 1u << 3;
#endif
  port_enter_main();
}

__attribute__((naked)) void port_fault(void) {
  __asm__ volatile("mrs r0, msp\n\t"
                   "ldr r1, =port_report_fault\n\t"
                   "bx r1\n\t"
                   ".ltorg");
}

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

/* frame: r0 r1 r2 r3 r12 lr pc xpsr as the core stacked them */
void port_report_fault(const uint32_t *frame) {
  uint32_t ipsr;
  __asm__ volatile("mrs %0, ipsr" : "=r"(ipsr));
  put_hex("\r\ne-[fault ", ipsr);
  put_hex(" pc ", frame[6]);
  put_hex(" lr ", frame[5]);
#if !defined(__ARM_ARCH_6M__)
  put_hex(" cfsr ", SCB_CFSR);
  put_hex(" bfar ", SCB_BFAR);
#endif
  put_text("]\r\n");
  for (;;) {
    __asm__ volatile("wfi");
  }
}
