/* printf on the console of a bare-metal port, for programs that use the C library's stdio. */
#include <stdio.h>

#include "port.h"

/* The console is started by the first character: a program that prints needs no more than main(). */
static void start(void) {
  static uint8_t started;
  if (!started) {
    started = 1;
    port_init();
  }
}

#if defined(__PICOLIBC__)

static int put(char character, FILE *file) {
  (void)file;
  start();
  port_putc((uint8_t)character);
  return (unsigned char)character;
}

static int get(FILE *file) {
  (void)file;
  start();
  return port_getc();
}

static FILE console = FDEV_SETUP_STREAM(put, get, NULL, _FDEV_SETUP_RW);
FILE *const stdin = &console;
FILE *const stdout = &console;
FILE *const stderr = &console;

#else

#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>

/* newlib calls these below its stdio */
int _write(int file, const char *text, int length);
int _read(int file, char *text, int length);
int _close(int file);
int _fstat(int file, struct stat *status);
int _isatty(int file);
int _lseek(int file, int offset, int whence);
void *_sbrk(ptrdiff_t bytes);
void _exit(int code) __attribute__((noreturn));
int _kill(int process, int number);
int _getpid(void);

int _write(int file, const char *text, int length) {
  (void)file;
  start();
  for (int i = 0; i < length; ++i) {
    port_putc((uint8_t)text[i]);
  }
  port_flush();
  return length;
}

int _read(int file, char *text, int length) {
  (void)file;
  if (length <= 0) {
    return 0;
  }
  start();
  text[0] = (char)port_getc();
  return 1;
}

int _close(int file) {
  (void)file;
  return -1;
}

int _fstat(int file, struct stat *status) {
  (void)file;
  status->st_mode = S_IFCHR;
  return 0;
}

int _isatty(int file) {
  (void)file;
  return 1;
}

int _lseek(int file, int offset, int whence) {
  (void)file;
  (void)offset;
  (void)whence;
  return 0;
}

/* What stdio allocates for itself: a line buffer. Nothing else may need more. */
void *_sbrk(ptrdiff_t bytes) {
  static char heap[2048] __attribute__((aligned(8)));
  static ptrdiff_t used;
  if (bytes > (ptrdiff_t)sizeof heap - used) {
    errno = ENOMEM;
    return (void *)-1;
  }
  void *start = heap + used;
  used += bytes;
  return start;
}

void _exit(int code) {
  (void)code;
  port_flush();
  for (;;) {
    __asm__ volatile("wfi");
  }
}

int _kill(int process, int number) {
  (void)process;
  (void)number;
  return -1;
}

int _getpid(void) {
  return 1;
}

#endif
