/* The block protocol; see protocol.h. Payloads are streamed: nothing here is as large as a sample. */
#include "crc32.h"
#include "inference.h"
#include "port.h"
#include "protocol.h"

/* Tells this firmware from others: 64 bits of its sources; 0 where nobody said. */
#ifndef TINYOPT_FIRMWARE_ID
#define TINYOPT_FIRMWARE_ID 0u
#endif

#define LARGEST_REQUEST (1u + (MODEL_INPUT_BYTES > 4u ? MODEL_INPUT_BYTES : 4u))

typedef struct {
  uint8_t type;
  uint16_t sequence;
  uint32_t length;
} header;

static uint32_t crc;

static struct {
  bool open;
  bool input_is_kept;
  bool answered; /* the last request was carried out, and its outputs are still there */
  header last;
  inference_cost cost; /* of the last request, if it was a run */
  uint64_t count;      /* of the last request, if it was a repetition */
} session;

void block_end_session(void) {
  session.open = false;
  session.answered = false;
  session.input_is_kept = false;
}

static int get(void) {
  int byte = port_getc();
  if (byte >= 0) {
    crc = crc32_update(crc, (uint8_t)byte);
  }
  return byte;
}

static void put(uint32_t value, unsigned bytes) {
  for (; bytes; --bytes, value >>= 8) {
    crc = crc32_update(crc, (uint8_t)value);
    port_putc((uint8_t)value);
  }
}

/* Finds any damage of up to eight bits in a row, and so of any one byte. */
static uint8_t header_check(const uint8_t bytes[6]) {
  uint8_t check = 0xFFu;
  for (unsigned i = 0; i < 6; ++i) {
    check ^= bytes[i];
    for (unsigned bit = 0; bit < 8; ++bit) {
      check = (uint8_t)((check << 1) ^ (check & 0x80u ? 0x07u : 0u));
    }
  }
  return check;
}

static void begin_reply(const header *request, uint8_t type, uint32_t length) {
  const uint8_t bytes[6] = {type,
                            (uint8_t)request->sequence,
                            (uint8_t)(request->sequence >> 8),
                            (uint8_t)length,
                            (uint8_t)(length >> 8),
                            (uint8_t)(length >> 16)};
  port_putc(BLOCK_SYNC);
  crc = CRC32_START;
  for (unsigned i = 0; i < sizeof bytes; ++i) {
    put(bytes[i], 1);
  }
  put(header_check(bytes), 1);
}

static void end_reply(void) {
  put(~crc, 4);
  port_flush();
}

static void reply_empty(const header *request) {
  begin_reply(request, request->type | BLOCK_REPLY, 0);
  end_reply();
}

static void reply_error(const header *request, uint8_t reason) {
  begin_reply(request, BLOCK_ERROR, 1);
  put(reason, 1);
  end_reply();
}

static void reply_hello(const header *request) {
  static const char name[] = MODEL_NAME;
  uint32_t name_bytes = sizeof name - 1;
  uint64_t identity = TINYOPT_FIRMWARE_ID;
  begin_reply(request, BLOCK_HELLO | BLOCK_REPLY, 40 + 4 * (MODEL_INPUT_COUNT + MODEL_OUTPUT_COUNT) + name_bytes);
  put(BLOCK_VERSION, 2);
  put(MODEL_HAS_STATE ? 1 : 0, 2);
  put(port_counter_hz(), 4);
  put(port_counter_unit(), 4);
  put(MODEL_ARENA_BYTES, 4);
  put(MODEL_LAYER_COUNT, 4);
  put(TINYOPT_KEEP_INPUT, 4);
  put(MODEL_INPUT_COUNT, 4);
  put(MODEL_OUTPUT_COUNT, 4);
  put((uint32_t)identity, 4);
  put((uint32_t)(identity >> 32), 4);
  for (unsigned input = 0; input < MODEL_INPUT_COUNT; ++input) {
    put(model_input_bytes(input), 4);
  }
  for (unsigned output = 0; output < MODEL_OUTPUT_COUNT; ++output) {
    put(model_output_bytes(output), 4);
  }
  for (uint32_t i = 0; i < name_bytes; ++i) {
    put((uint8_t)name[i], 1);
  }
  end_reply();
}

static void reply_run(const header *request) {
  begin_reply(request, BLOCK_RUN | BLOCK_REPLY, 8 + MODEL_OUTPUT_BYTES);
  put(session.cost.count, 4);
  put(session.cost.stack, 4);
  for (uint32_t position = 0; position < MODEL_OUTPUT_BYTES; ++position) {
    put(inference_output(position), 1);
  }
  end_reply();
}

static void reply_repeat(const header *request) {
  begin_reply(request, BLOCK_REPEAT | BLOCK_REPLY, 8);
  put((uint32_t)session.count, 4);
  put((uint32_t)(session.count >> 32), 4);
  end_reply();
}

static void reply_layers(const header *request) {
  begin_reply(request, BLOCK_LAYERS | BLOCK_REPLY, 4 * MODEL_LAYER_COUNT);
  for (uint32_t layer = 0; layer < MODEL_LAYER_COUNT; ++layer) {
    put(inference_layer(layer), 4);
  }
  end_reply();
}

/* A run brings its input, or has none and takes the one that is kept from before. */
static bool has_right_length(const header *request) {
  switch (request->type) {
  case BLOCK_RUN:
    return request->length == 1 + MODEL_INPUT_BYTES || (request->length == 1 && session.input_is_kept);
  case BLOCK_REPEAT:
    return request->length == 4;
  default:
    return request->length == 0;
  }
}

/* Whether this is a request that was carried out before; only its answer was lost. */
static bool is_repeated(const header *request) {
  return session.open && session.answered && request->sequence == session.last.sequence &&
         request->type == session.last.type && request->length == session.last.length;
}

/* `argument`: the first bytes of the payload. */
static void carry_out(const header *request, uint32_t argument) {
  if (request->type == BLOCK_RUN) {
    session.cost = inference_run(argument & BLOCK_RUN_LAYERS, argument & BLOCK_RUN_STACK);
  } else if (request->type == BLOCK_REPEAT) {
    session.count = inference_repeat(argument);
  } else if (request->type == BLOCK_RESET) {
    inference_reset();
  }
  session.last = *request;
  session.answered = true;
}

static void answer(const header *request) {
  switch (request->type) {
  case BLOCK_RUN:
    reply_run(request);
    break;
  case BLOCK_REPEAT:
    reply_repeat(request);
    break;
  default:
    reply_empty(request);
  }
}

/* A request whose check is right. */
static void handle(const header *request, bool fits, bool repeated, uint32_t argument) {
  if (request->type == 0 || request->type > BLOCK_PING) {
    reply_error(request, BLOCK_BAD_TYPE);
  } else if (!fits) {
    reply_error(request, BLOCK_BAD_LENGTH);
  } else if (request->type == BLOCK_HELLO) {
    block_end_session();
    session.open = true;
    reply_hello(request);
  } else if (request->type == BLOCK_PING) {
    reply_empty(request);
  } else if (!session.open) {
    reply_error(request, BLOCK_NO_SESSION);
  } else if (request->type == BLOCK_LAYERS) {
    reply_layers(request);
  } else {
    if (!repeated) {
      carry_out(request, argument);
    }
    answer(request);
  }
}

bool block_frame(void) {
  uint8_t bytes[7];
  crc = CRC32_START;
  for (unsigned i = 0; i < sizeof bytes; ++i) {
    int byte = get();
    if (byte < 0) {
      return false;
    }
    bytes[i] = (uint8_t)byte;
  }
  text_forget();
  header request = {bytes[0], (uint16_t)(bytes[1] | bytes[2] << 8),
                    bytes[3] | (uint32_t)bytes[4] << 8 | (uint32_t)bytes[5] << 16};
  if (header_check(bytes) != bytes[6]) {
    reply_error(&request, BLOCK_BAD_CHECK);
    return true;
  }
  if (request.length > LARGEST_REQUEST) {
    reply_error(&request, BLOCK_BAD_LENGTH);
    return true;
  }
  /* The input is stored as it comes in, and may overwrite the outputs of the run before: it counts once the check is
   * right. That of a repeated request is there already. */
  bool repeated = is_repeated(&request);
  bool fits = has_right_length(&request);
  bool has_input = fits && request.type == BLOCK_RUN && request.length > 1;
  if (has_input && !repeated) {
    session.input_is_kept = false;
    session.answered = false;
  }
  uint32_t argument = 0;
  for (uint32_t i = 0; i < request.length; ++i) {
    int byte = get();
    if (byte < 0) {
      return false;
    }
    if (has_input && i > 0) {
      if (!repeated) {
        inference_load(i - 1, (uint8_t)byte);
      }
    } else if (i < 4) {
      argument |= (uint32_t)byte << (8 * i);
    }
  }
  uint32_t wanted = ~crc;
  uint32_t got = 0;
  for (unsigned shift = 0; shift < 32; shift += 8) {
    int byte = port_getc();
    if (byte < 0) {
      return false;
    }
    got |= (uint32_t)byte << shift;
  }
  if (got != wanted) {
    reply_error(&request, BLOCK_BAD_CHECK);
    return true;
  }
  session.input_is_kept = TINYOPT_KEEP_INPUT && (session.input_is_kept || has_input);
  handle(&request, fits, repeated, argument);
  return true;
}
