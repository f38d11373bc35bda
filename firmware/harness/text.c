/* The MLPerf Tiny device interface, as the official runner speaks it: commands end with '%', messages begin with "m-",
 * errors with "e-". Real values of the outputs are printed with three decimals.
 *
 *   name               m-name-dut-[VENDOR]
 *   profile            m-profile-[...], m-model-[NAME]
 *   timestamp          m-lap-us-MICROSECONDS
 *   db load N          m-[Expecting N bytes]; N must be a size that the input may have, see below
 *   db HEX...          the next bytes; m-load-done after the last
 *   db print           the loaded bytes, eight a line (where the firmware keeps them)
 *   infer N [W=10]     N inferences after W for warming up, time stamps around the N, results
 *   results            m-results-[v,v,...] of the last inference
 *   reset              the model's states get their initial values
 *   info               m-info-[...]: what the firmware was built for
 *   help               the commands
 *
 * A quantized model with one input also takes it as real numbers (little-endian float32, "db load" with four bytes an
 * element), which are quantized as they arrive: the data of the anomaly detection benchmark are. With
 * TINYOPT_UNSIGNED_INPUT its raw elements are unsigned, as in the image benchmarks, and are shifted by -128.
 *
 * Built with TINYOPT_ENERGY_MODE, time stamps are falling edges of the trigger alone, as the energy runner wants them.
 */
#include <string.h>

#include "console.h"
#include "inference.h"
#include "port.h"
#include "protocol.h"
#include "trigger.h"

/* What the runner files the device under, and the model that it looks for in its tests (kws01, vww01, ic01, ad01). */
#ifndef TINYOPT_VENDOR
#define TINYOPT_VENDOR "tinyopt"
#endif
#ifndef TINYOPT_MODEL_VERSION
#define TINYOPT_MODEL_VERSION MODEL_NAME
#endif
#ifndef TINYOPT_UNSIGNED_INPUT
#define TINYOPT_UNSIGNED_INPUT 0
#endif
#ifndef TINYOPT_ENERGY_MODE
#define TINYOPT_ENERGY_MODE 0
#endif

#define PROFILE "ULPMark for tinyML Firmware V0.0.1"
#define LINE_BYTES 40u /* longer commands than "db" have short arguments */

#if MODEL_INPUT_COUNT == 1 && defined(MODEL_INPUT_0_SCALE) && MODEL_INPUT_0_BYTES == MODEL_INPUT_0_ELEMENTS
#define TAKES_REALS 1
#define REAL_BYTES (4u * MODEL_INPUT_0_ELEMENTS)
#else
#define TAKES_REALS 0
#define REAL_BYTES 0u
#endif

static struct {
  char line[LINE_BYTES];
  uint32_t length; /* of the command; may exceed LINE_BYTES, what is beyond was dropped */
  bool hex;        /* inside the digits of a db command */
  bool bad_digit;
  uint8_t digits; /* 0 or 1: half of a byte was read */
  uint8_t high;
} state;

static struct {
  bool active;
  uint32_t expected; /* bytes */
  uint32_t loaded;
  uint32_t real; /* bits of a real number that arrives */
} load;

static uint32_t microseconds, last_count, remainder_counts;

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
  uint32_t now = now_in_microseconds();
  trigger_edge();
  if (!TINYOPT_ENERGY_MODE) {
    put_text("m-lap-us-");
    put_number(now);
    put_text("\r\n");
  }
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
  block_end_session();
  put_text("m-warmup-start-");
  put_number(warmups);
  put_text("\r\n");
  for (; warmups; --warmups) {
    (void)inference_run(false, false);
  }
  put_text("m-warmup-done\r\nm-infer-start-");
  put_number(runs);
  put_text("\r\n");
  port_flush(); /* nothing is on the line while the runs are timed */
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

static void begin_load(const char *arguments) {
  if (!*arguments) {
    put_text("e-[Command 'db load' requires the # of bytes]\r\n");
    return;
  }
  int32_t bytes = take_number(&arguments);
  if (bytes <= 0) {
    put_text("e-[Command 'db load' must be >0 bytes]\r\n");
  } else if ((uint32_t)bytes != MODEL_INPUT_BYTES && (uint32_t)bytes != REAL_BYTES) {
    put_text("e-[The input has ");
    put_number(MODEL_INPUT_BYTES);
    put_text(" bytes]\r\n");
  } else {
    block_end_session();
    load.active = true;
    load.expected = (uint32_t)bytes;
    load.loaded = 0;
    put_text("m-[Expecting ");
    put_number(load.expected);
    put_text(" bytes]\r\n");
  }
}

#if TAKES_REALS
/* To nearest, ties away from zero, then shifted and saturated; what is no number becomes the zero point. */
static uint8_t quantized(uint32_t bits) {
  float value;
  (void)memcpy(&value, &bits, sizeof value);
  float steps = value / (float)MODEL_INPUT_0_SCALE;
  if (!(steps == steps)) {
    steps = 0.0f;
  }
  steps = steps < -512.0f ? -512.0f : steps > 512.0f ? 512.0f : steps;
  int32_t whole = (int32_t)steps;
  float rest = steps - (float)whole;
  whole += rest >= 0.5f ? 1 : rest <= -0.5f ? -1 : 0;
  whole += MODEL_INPUT_0_ZERO_POINT;
  return (uint8_t)(int8_t)(whole < -128 ? -128 : whole > 127 ? 127 : whole);
}
#endif

static void load_byte(uint8_t byte) {
  uint32_t at = load.loaded++;
#if TAKES_REALS
  if (load.expected == REAL_BYTES) {
    load.real = load.real >> 8 | (uint32_t)byte << 24;
    if (at % 4u == 3u) {
      inference_load(at / 4u, quantized(load.real));
    }
    return;
  }
#endif
  inference_load(at, TINYOPT_UNSIGNED_INPUT ? byte ^ 0x80u : byte);
}

static void help(void) {
  put_text(PROFILE "\r\n\r\n"
                   "help         : Print this information\r\n"
                   "name         : Print the name of the device\r\n"
                   "timestamp    : Generate a timestamp\r\n"
                   "db SUBCMD    : Manipulate a generic byte buffer\r\n"
                   "  load N     : Set the load counter to N bytes\r\n"
                   "  db HH[HH]* : Load 8-bit hex byte(s) until N bytes\r\n"
                   "  print      : Print the bytes as hex\r\n"
                   "infer N [W=10]: Execute N inferences after W warmup loops\r\n"
                   "results      : Return the result fp32 vector\r\n"
                   "reset        : Set the states of the model to their initial values\r\n"
                   "info         : Print what the firmware was built for\r\n");
}

static void info(void) {
  put_text("m-info-[firmware=tinyopt,protocol=");
  put_number(BLOCK_VERSION);
  put_text(",input-bytes=");
  put_number(MODEL_INPUT_BYTES);
  put_text(",arena-bytes=");
  put_number(MODEL_ARENA_BYTES);
  put_text(",counter-hz=");
  put_number(port_counter_hz());
  put_text(",edges=");
  put_number(trigger_edges());
  put_text("]\r\n");
}

static void print_buffer(void) {
  for (uint32_t i = 0; i < MODEL_INPUT_BYTES; ++i) {
    put_text(i % 8 == 0 ? "m-buffer-" : "-");
    put_hex_byte(inference_input(i));
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
    put_text("m-name-dut-[" TINYOPT_VENDOR "]\r\n");
  } else if (after(command, "timestamp")) {
    put_timestamp();
  } else if (after(command, "profile")) {
    put_text("m-profile-[" PROFILE "]\r\nm-model-[" TINYOPT_MODEL_VERSION "]\r\n");
  } else if ((arguments = after(command, "infer")) != NULL) {
    infer(arguments);
  } else if (after(command, "results")) {
    put_results();
  } else if (after(command, "reset")) {
    block_end_session();
    inference_reset();
  } else if (after(command, "info")) {
    info();
  } else if (after(command, "help")) {
    help();
  } else if (after(command, "db print")) {
    print_buffer();
  } else if ((arguments = after(command, "db load")) != NULL) {
    begin_load(arguments);
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
    if (load.active && !state.bad_digit && load.loaded < load.expected) {
      load_byte((uint8_t)(state.high << 4 | value));
    }
  }
}

static void end_digits(void) {
  if (state.bad_digit) {
    put_text("e-[Invalid hex digit]\r\n");
  } else if (state.digits) {
    put_text("e-[Insufficent number of hex digits]\r\n"); /* spelled as the reference has it */
  } else if (!load.active) {
    put_text("e-[No 'db load' before the bytes]\r\n");
  } else if (load.loaded == load.expected) {
    load.active = false;
    put_text("m-load-done\r\n");
  }
}

void text_forget(void) {
  state.length = 0;
  state.hex = false;
  state.bad_digit = false;
  state.digits = 0;
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
  text_forget();
  put_text("m-ready\r\n");
  port_flush();
}

void text_character(char character) {
  bool printable = character >= ' ' && character <= '~';
  if (character == '%') {
    end_command();
  } else if (state.hex) {
    take_digit(character);
  } else if (state.length == 0 && (!printable || character == ' ')) {
    /* line ends and zero bytes between commands */
  } else {
    if (state.length < LINE_BYTES) {
      /* what is printed back must not look like a frame */
      state.line[state.length] = printable ? character : '?';
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
  put_text(TINYOPT_ENERGY_MODE ? "m-timestamp-mode-energy\r\n" : "m-timestamp-mode-performance\r\n");
  put_timestamp();
  put_text("m-init-done\r\nm-ready\r\n");
  port_flush();
}
