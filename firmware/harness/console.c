#include "console.h"

#include "port.h"

void put_text(const char *text) {
  while (*text) {
    port_putc((uint8_t)*text++);
  }
}

void put_number(uint32_t value) {
  char digits[11];
  unsigned i = sizeof digits - 1;
  digits[i] = 0;
  do {
    digits[--i] = (char)('0' + value % 10u);
    value /= 10u;
  } while (value);
  put_text(digits + i);
}

void put_hex_byte(uint8_t byte) {
  static const char digits[] = "0123456789abcdef";
  port_putc((uint8_t)digits[byte >> 4]);
  port_putc((uint8_t)digits[byte & 15u]);
}

void put_real(float value) {
  if (!(value == value)) {
    put_text("nan");
    return;
  }
  if (value < 0) {
    port_putc('-');
    value = -value;
  }
  if (value >= 4294967040.0f) {
    put_text("inf");
    return;
  }
  uint32_t whole = (uint32_t)value;
  uint32_t thousandths = (uint32_t)((value - (float)whole) * 1000.0f + 0.5f);
  if (thousandths == 1000u) {
    ++whole;
    thousandths = 0;
  }
  put_number(whole);
  port_putc('.');
  port_putc((uint8_t)('0' + thousandths / 100u));
  port_putc((uint8_t)('0' + thousandths / 10u % 10u));
  port_putc((uint8_t)('0' + thousandths % 10u));
}
