/* Text on the console: what the commands of text.c print. */
#ifndef TINYOPT_CONSOLE_H
#define TINYOPT_CONSOLE_H

#include <stdint.h>

void put_text(const char *text);

/* Decimal. */
void put_number(uint32_t value);

/* Two hexadecimal digits. */
void put_hex_byte(uint8_t byte);

/* Three decimals, rounded to nearest; beyond 32 bits "inf", and "nan" for what is no number. */
void put_real(float value);

#endif
