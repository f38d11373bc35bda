/* The MLPerf Tiny device interface, as the official runner speaks it: commands end with '%', messages begin with "m-",
 * errors with "e-". Real values of the outputs are printed with three decimals.
 *
 *   name               m-name-dut-[tinyopt]
 *   profile            m-profile-[...], m-model-[NAME]
 *   timestamp          m-lap-us-MICROSECONDS
 *   db load N          m-[Expecting N bytes]; N must be the size of the input
 *   db HEX...          the next bytes; m-load-done after the last
 *   db print           the loaded bytes, eight a line (where the firmware keeps them)
 *   infer N [W]        N inferences after W for warming up, time stamps around the N, results
 *   results            m-results-[v,v,...] of the last inference
 *   help               the commands
 */
#include <string.h>

#include "inference.h"
#include "port.h"
#include "protocol.h"

#define LINE_BYTES 40u /* longer commands than "db" have short arguments */

static struct {
  char line[LINE_BYTES];
  uint32_t length; /* of the command; may exceed LINE_BYTES, what is beyond was dropped */
  bool hex;        /* inside the digits of a db command */
  bool bad_digit;
  uint8_t digits; /* 0 or 1: half of a byte was read */
  uint8_t high;
  bool loading;
  uint32_t loaded;
} state;

static uint32_t microseconds, last_count, remainder_counts;

static void put_text(const char *text) {
  while (*text) {
    port_putc((uint8_t)*text++);
  }
}

static void put_number(uint32_t value) {
  char digits[11];
  unsigned i = sizeof digits - 1;
  digits[i] = 0;
  do {
    digits[--i] = (char)('0' + value % 10u);
    value /= 10u;
  } while (value);
  put_text(digits + i);
}

/* Whole microseconds since the start; true as long as it is asked for once per turn of the counter. */
static uint32_t now_in_microseconds(void) {
  uint32_t count = port_counter();
  uint64_t elapsed = (uint64_t)(count - last_count) * 1000000u + remainder_counts;
  microseconds += (uint32_t)(elapsed / port_counter_hz());
  remainder_counts = (uint32_t)(elapsed % port_counter_hz());
  last_count = count;
  return microseconds;
}

static void put_timestamp(void) {
  put_text("m-lap-us-");
  put_number(now_in_microseconds());
  put_text("\r\n");
}

/* Three decimals, rounded to nearest; beyond 32 bits "inf", and "nan" for what is no number. */
static void put_real(float value) {
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

/* Real values of the first output. The model's header has the scale of a quantized one. */
static void put_results(void) {
  uint32_t bytes = model_output_bytes(0);
  put_text("m-results-[");
#if defined(MODEL_OUTPUT_0_SCALE)
  uint32_t width = bytes / MODEL_OUTPUT_0_ELEMENTS;
#else
  uint32_t width = sizeof(float);
#endif
  for (uint32_t at = 0; at + width <= bytes; at += width) {
    if (at) {
      port_putc(',');
    }
#if defined(MODEL_OUTPUT_0_SCALE)
    int32_t value =
        width == 1 ? (int8_t)inference_output(at) : (int16_t)(inference_output(at) | inference_output(at + 1) << 8);
    put_real((float)(value - MODEL_OUTPUT_0_ZERO_POINT) * (float)MODEL_OUTPUT_0_SCALE);
#else
    uint8_t raw[sizeof(float)];
    float value;
    for (uint32_t i = 0; i < sizeof raw; ++i) {
      raw[i] = inference_output(at + i);
    }
    (void)memcpy(&value, raw, sizeof value);
    put_real(value);
#endif
  }
  put_text("]\r\n");
}

static void run_many(uint32_t runs, uint32_t warmups) {
  put_text("m-warmup-start-");
  put_number(warmups);
  put_text("\r\n");
  for (; warmups; --warmups) {
    (void)inference_run(false, false);
  }
  put_text("m-warmup-done\r\nm-infer-start-");
  put_number(runs);
  put_text("\r\n");
  put_timestamp();
  for (; runs; --runs) {
    (void)inference_run(false, false);
    (void)now_in_microseconds();
  }
  put_timestamp();
  put_text("m-infer-done\r\n");
  put_results();
}

/* The number at *text, which moves past it and the spaces around; -1 where there is none, or a huge one. */
static int32_t take_number(const char **text) {
  while (**text == ' ') {
    ++*text;
  }
  if (**text < '0' || **text > '9') {
    return -1;
  }
  int32_t value = 0;
  for (; **text >= '0' && **text <= '9'; ++*text) {
    value = value * 10 + (**text - '0');
    if (value > 100000000) {
      return -1;
    }
  }
  while (**text == ' ') {
    ++*text;
  }
  return value;
}

static void infer(const char *arguments) {
  int32_t runs = 1;
  int32_t warmups = 10;
  if (*arguments) {
    runs = take_number(&arguments);
    if (*arguments) {
      warmups = take_number(&arguments);
    }
  }
  if (runs <= 0) {
    put_text("e-[Inference iterations must be >0]\r\n");
  } else if (warmups < 0) {
    put_text("e-[Inference warmup must be >=0]\r\n");
  } else {
    run_many((uint32_t)runs, (uint32_t)warmups);
  }
}

static void load(const char *arguments) {
  int32_t bytes = take_number(&arguments);
  if (bytes != (int32_t)MODEL_INPUT_BYTES) {
    put_text("e-[The input has ");
    put_number(MODEL_INPUT_BYTES);
    put_text(" bytes]\r\n");
    return;
  }
  state.loading = true;
  state.loaded = 0;
  put_text("m-[Expecting ");
  put_number(MODEL_INPUT_BYTES);
  put_text(" bytes]\r\n");
}

static void help(void) {
  put_text("name, profile, timestamp, db load N, db HH[HH]*, db print, infer N [W], results, help\r\n");
}

static void print_buffer(void) {
  static const char digits[] = "0123456789abcdef";
  for (uint32_t i = 0; i < MODEL_INPUT_BYTES; ++i) {
    uint8_t byte = inference_input(i);
    put_text(i % 8 == 0 ? "m-buffer-" : "-");
    port_putc((uint8_t)digits[byte >> 4]);
    port_putc((uint8_t)digits[byte & 15u]);
    if (i % 8 == 7 || i + 1 == MODEL_INPUT_BYTES) {
      put_text("\r\n");
    }
  }
}

/* What follows `word` and its spaces in the command; NULL where the command is another one. */
static const char *after(const char *command, const char *word) {
  size_t length = strlen(word);
  if (strncmp(command, word, length) != 0 || (command[length] != 0 && command[length] != ' ')) {
    return NULL;
  }
  command += length;
  while (*command == ' ') {
    ++command;
  }
  return command;
}

static void run_command(const char *command) {
  const char *arguments;
  if (after(command, "name")) {
    put_text("m-name-dut-[tinyopt]\r\n");
  } else if (after(command, "timestamp")) {
    put_timestamp();
  } else if (after(command, "profile")) {
    put_text("m-profile-[tinyopt measuring firmware 1]\r\nm-model-[" MODEL_NAME "]\r\n");
  } else if ((arguments = after(command, "infer")) != NULL) {
    infer(arguments);
  } else if (after(command, "results")) {
    put_results();
  } else if (after(command, "help")) {
    help();
  } else if (after(command, "db print")) {
    print_buffer();
  } else if ((arguments = after(command, "db load")) != NULL) {
    load(arguments);
  } else if (after(command, "db")) {
    put_text("e-[Command 'db' requires a subcommand]\r\n");
  } else {
    put_text("e-[Unknown command: ");
    put_text(command);
    put_text("]\r\n");
  }
}

static int digit_value(char character) {
  if (character >= '0' && character <= '9') {
    return character - '0';
  }
  if (character >= 'a' && character <= 'f') {
    return character - 'a' + 10;
  }
  return character >= 'A' && character <= 'F' ? character - 'A' + 10 : -1;
}

/* Digits go where they belong one by one: a line of them may be as long as the input. */
static void take_digit(char character) {
  int value = digit_value(character);
  if (value < 0) {
    state.bad_digit = true;
  } else if (!state.digits) {
    state.high = (uint8_t)value;
    state.digits = 1;
  } else {
    state.digits = 0;
    if (state.loading && !state.bad_digit && state.loaded < MODEL_INPUT_BYTES) {
      inference_load(state.loaded++, (uint8_t)(state.high << 4 | value));
    }
  }
}

static void end_digits(void) {
  if (state.bad_digit) {
    put_text("e-[Invalid hex digit]\r\n");
  } else if (state.digits) {
    put_text("e-[Insufficient number of hex digits]\r\n");
  } else if (!state.loading) {
    put_text("e-[No 'db load' before the bytes]\r\n");
  } else if (state.loaded == MODEL_INPUT_BYTES) {
    state.loading = false;
    put_text("m-load-done\r\n");
  }
}

static void end_command(void) {
  if (state.hex) {
    end_digits();
  } else if (state.length >= LINE_BYTES) {
    put_text("e-[The command is too long]\r\n");
  } else if (state.length) {
    state.line[state.length] = 0;
    run_command(state.line);
  } else {
    put_text("e-[Empty command]\r\n");
  }
  state.length = 0;
  state.hex = false;
  state.bad_digit = false;
  state.digits = 0;
  put_text("m-ready\r\n");
  port_flush();
}

void text_character(char character) {
  if (character == '%') {
    end_command();
  } else if (state.hex) {
    take_digit(character);
  } else if (state.length == 0 && (character <= ' ' || character > '~')) {
    /* line ends and zero bytes between commands */
  } else {
    if (state.length < LINE_BYTES) {
      state.line[state.length] = character;
    }
    ++state.length;
    if (state.length == 4 && memcmp(state.line, "db ", 3) == 0 && digit_value(character) >= 0) {
      state.hex = true;
      take_digit(character);
    }
  }
}

void text_greeting(void) {
  last_count = port_counter();
  put_text("m-init-done\r\nm-ready\r\n");
  port_flush();
}
