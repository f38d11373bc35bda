/* The block protocol; see protocol.h. Payloads are streamed: nothing here is as large as a sample. */
#include "crc32.h"
#include "inference.h"
#include "port.h"
#include "protocol.h"

typedef struct {
  uint8_t type;
  uint16_t sequence;
  uint32_t length;
} header;

static uint32_t crc;
static bool input_is_kept;

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

static void begin_reply(const header *request, uint8_t type, uint32_t length) {
  uint32_t sum =
      (uint32_t)type + request->sequence + (uint32_t)(request->sequence >> 8) + length + (length >> 8) + (length >> 16);
  port_putc(BLOCK_SYNC);
  crc = CRC32_START;
  put(type, 1);
  put(request->sequence, 2);
  put(length, 3);
  put(~sum, 1);
}

static void end_reply(void) {
  put(~crc, 4);
  port_flush();
}

static void reply_error(const header *request, uint8_t reason) {
  begin_reply(request, BLOCK_ERROR, 1);
  put(reason, 1);
  end_reply();
}

static void reply_hello(const header *request) {
  static const char name[] = MODEL_NAME;
  uint32_t name_bytes = sizeof name - 1;
  begin_reply(request, BLOCK_HELLO | BLOCK_REPLY, 32 + 4 * (MODEL_INPUT_COUNT + MODEL_OUTPUT_COUNT) + name_bytes);
  put(BLOCK_VERSION, 2);
  put(MODEL_HAS_STATE ? 1 : 0, 2);
  put(port_counter_hz(), 4);
  put(port_counter_unit(), 4);
  put(MODEL_ARENA_BYTES, 4);
  put(MODEL_LAYER_COUNT, 4);
  put(TINYOPT_KEEP_INPUT, 4);
  put(MODEL_INPUT_COUNT, 4);
  put(MODEL_OUTPUT_COUNT, 4);
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

static void reply_run(const header *request, uint8_t flags) {
  inference_cost cost = inference_run(flags & BLOCK_RUN_LAYERS, flags & BLOCK_RUN_STACK);
  begin_reply(request, BLOCK_RUN | BLOCK_REPLY, 8 + MODEL_OUTPUT_BYTES);
  put(cost.count, 4);
  put(cost.stack, 4);
  for (uint32_t position = 0; position < MODEL_OUTPUT_BYTES; ++position) {
    put(inference_output(position), 1);
  }
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
  if (request->type != BLOCK_RUN) {
    return request->length == 0;
  }
  return request->length == 1 + MODEL_INPUT_BYTES || (request->length == 1 && input_is_kept);
}

static void answer(const header *request, uint8_t flags) {
  switch (request->type) {
  case BLOCK_HELLO:
    reply_hello(request);
    break;
  case BLOCK_RUN:
    reply_run(request, flags);
    break;
  case BLOCK_RESET:
    inference_reset();
    begin_reply(request, BLOCK_RESET | BLOCK_REPLY, 0);
    end_reply();
    break;
  case BLOCK_LAYERS:
    reply_layers(request);
    break;
  default:
    reply_error(request, BLOCK_BAD_TYPE);
  }
}

bool block_frame(void) {
  uint8_t bytes[7];
  uint8_t sum = 0;
  crc = CRC32_START;
  for (unsigned i = 0; i < sizeof bytes; ++i) {
    int byte = get();
    if (byte < 0) {
      return false;
    }
    bytes[i] = (uint8_t)byte;
    sum = (uint8_t)(sum + bytes[i]);
  }
  header request = {bytes[0], (uint16_t)(bytes[1] | bytes[2] << 8),
                    bytes[3] | (uint32_t)bytes[4] << 8 | (uint32_t)bytes[5] << 16};
  /* a byte and the inverse of a sum that includes it */
  if (sum != 0xFFu) {
    reply_error(&request, BLOCK_BAD_CHECK);
    return true;
  }
  /* The input is stored as it comes in: it counts once the check is right. */
  bool fits = has_right_length(&request);
  bool has_input = fits && request.length > 1;
  if (has_input) {
    input_is_kept = false;
  }
  uint8_t flags = 0;
  for (uint32_t i = 0; i < request.length; ++i) {
    int byte = get();
    if (byte < 0) {
      return false;
    }
    if (fits && i == 0) {
      flags = (uint8_t)byte;
    } else if (fits) {
      inference_load(i - 1, (uint8_t)byte);
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
  } else if (!fits) {
    reply_error(&request, BLOCK_BAD_LENGTH);
  } else {
    input_is_kept = TINYOPT_KEEP_INPUT && (input_is_kept || has_input);
    answer(&request, flags);
  }
  return true;
}
